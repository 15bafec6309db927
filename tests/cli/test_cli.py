"""The command line: what it prints where, exit statuses, and that its documentation is true."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import manageboot.channel.refusals
from manageboot import errors
from manageboot.cli import main
from support.images import make_update

DOCS = Path(__file__).parents[2] / "docs"


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "manageboot", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, **options)


def all_errors() -> list[type[errors.ManagebootError]]:
    found = [errors.ManagebootError]
    for kind in found:
        found += kind.__subclasses__()
    return found


def test_the_documented_help_is_the_help():
    shown = run("--help", env={**os.environ, "COLUMNS": "80"}).stdout
    assert shown == (DOCS / "command-line.md").read_text().split("```\n")[1]


def test_every_class_that_is_raised_has_a_code_word_of_its_own():
    source = "".join(path.read_text() for path in Path(manageboot.__file__).parent.rglob("*.py"))
    for kind in all_errors():
        if re.search(rf"raise (errors|refusals)\.{kind.__name__}\(", source):
            assert "code" in vars(kind), kind


@pytest.mark.parametrize(
    "arguments",
    [[], ["bogus"], ["current", "extra"], ["upgrade-install", "a", "b", "c"], ["-c"], ["--curr"]],
)
def test_wrong_usage(arguments: list[str]):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"manageboot: error: cannot run: .* \[USAGE\]\nhint: manageboot .*--help\n", done.stderr)


@pytest.mark.parametrize("digest", ["", "zz", "0" * 63])
def test_a_digest_that_is_none_is_wrong_usage(digest: str):
    assert run("guestos", "upgrade-install", "update-img.tar", "--sha256", digest).returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["/", "--release-sha256", "0" * 63],
        ["/", "--sha256", "0" * 64],
        ["update-img.tar", "--release-sha256", "0" * 64],
        ["a", "b", "--allow-downgrade"],
    ],
)
def test_a_release_is_not_an_update_image(arguments: list[str], capfd: pytest.CaptureFixture[str]):
    assert main.run(["guestos", "upgrade-install", *arguments]) == 2
    assert "[USAGE]" in capfd.readouterr().err


def test_a_digest_of_two_images_is_wrong_usage():
    assert run("guestos", "upgrade-install", "boot.img", "root.img", "--sha256", "0" * 64).returncode == 2


def test_the_system_type_may_stand_before_the_verb(tmp_path: Path):
    (tmp_path / "cmdline").write_text("dfinity.system=B\n")
    (tmp_path / "c.toml").write_text(f'[boot]\ncmdline = "{tmp_path}/cmdline"\n')
    for system in ("guestos", "hostos"):
        assert run("-c", f"{tmp_path}/c.toml", "-f", "/nothing", system, "target").stdout == "A\n"
    done = run("-c", f"{tmp_path}/c.toml", "target")
    assert (done.returncode, "slots.A.boot" in done.stderr) == (78, True)


def test_the_block_may_be_named_by_a_relative_path(tmp_path: Path):
    (tmp_path / "cmdline").write_text("dfinity.system=A\n")
    (tmp_path / "c.toml").write_text(f'[boot]\ncmdline = "{tmp_path}/cmdline"\n')
    (tmp_path / "grubenv").write_bytes(b"# GRUB Environment Block\nboot_alternative=B\n".ljust(1024, b"#"))
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent)}
    assert run("-c", "c.toml", "-f", "grubenv", "guestos", "next", cwd=tmp_path, env=environment).stdout == "B\n"


def test_a_bug_is_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("manageboot.config.load", fail)
    assert main.run(["current"]) == 70
    shown = capfd.readouterr().err
    assert re.match(
        r"manageboot: error: cannot go on: ZeroDivisionError: oops \(test_cli\.py:\d+\) \[INTERNAL\]\n", shown
    )


def test_nobody_reading_is_no_crash(tmp_path: Path):
    (tmp_path / "cmdline").write_text("dfinity.system=A\n")
    (tmp_path / "c.toml").write_text(f'[boot]\ncmdline = "{tmp_path}/cmdline"\n')
    command = f"{sys.executable} -m manageboot -c {tmp_path}/c.toml guestos current"
    for closing in ("2>&-", "</dev/null", "<&-", "2>/dev/full"):
        done = subprocess.run(["sh", "-c", f"{command} {closing}"], check=False, capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, b""), closing


def only_that_the_result_cannot_be_written(done: subprocess.CompletedProcess[str]) -> None:
    error, *hints = done.stderr.splitlines()
    assert (done.returncode, len([line for line in hints if not line.startswith("hint: ")])) == (74, 0)
    assert error.startswith("manageboot: error: cannot write the result: ")


@pytest.mark.parametrize("where", [">&-", ">/dev/full", "| true"])
def test_a_result_that_nobody_takes_is_an_error(tmp_path: Path, where: str):
    (tmp_path / "cmdline").write_text("dfinity.system=A\n")
    (tmp_path / "c.toml").write_text(f'[boot]\ncmdline = "{tmp_path}/cmdline"\n')
    command = f"sleep 0.2; {sys.executable} -m manageboot -c {tmp_path}/c.toml guestos current"
    script = f"set -o pipefail; {{ {command}; }} {where}"
    done = subprocess.run(["bash", "-c", script], check=False, capture_output=True, text=True, timeout=60)
    only_that_the_result_cannot_be_written(done)


@pytest.mark.parametrize("words", ["--help", "--version", "status --help"])
@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
def test_help_that_nobody_takes_is_an_error(words: str, where: str):
    script = f"{sys.executable} -m manageboot {words} {where}"
    done = subprocess.run(["sh", "-c", script], check=False, capture_output=True, text=True, timeout=60)
    only_that_the_result_cannot_be_written(done)


@pytest.mark.parametrize("words", ["--disk x status", "-f x status", "inspect x", "-c x status"])
def test_a_relative_path_in_a_deleted_directory(tmp_path: Path, words: str):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'rmdir "$PWD" && exec {sys.executable} -m manageboot {words}'
    environment = {**os.environ, "PYTHONPATH": str(Path(manageboot.__file__).parents[1])}
    done = subprocess.run(
        ["sh", "-c", script], check=False, capture_output=True, text=True, timeout=60, cwd=gone, env=environment
    )
    line = done.stderr.splitlines()[0]
    assert line.startswith("manageboot: error: cannot "), done.stderr
    assert "INTERNAL" not in line
    assert "x" in line
    assert done.returncode not in {0, 1, 70}


def test_a_message_is_one_line_whatever_it_tells_of():
    done = run("guestos", "inspect", "no\nsuch\x1b[1mfile")
    assert done.stderr.splitlines()[0].startswith(r"manageboot: error: cannot open no\x0asuch\x1b[1mfile: ")


@pytest.mark.parametrize("columns", ["", "abc", "0", "-5", "1", "9" * 30])
def test_the_width_of_the_terminal_is_no_error(columns: str):
    assert run("--help", env={**os.environ, "COLUMNS": columns}).returncode == 0


def test_until_the_command_line_listens_a_signal_is_no_traceback():
    code = "import signal, manageboot.__main__; signal.raise_signal(signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_an_image_can_be_inspected_where_there_is_no_node(tmp_path: Path):
    update = make_update(tmp_path / "update")
    done = run("inspect", str(update))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("fits     unknown, this node has no such slots\n")


def test_the_shipped_script_is_shown_whatever_the_configuration(capfd: pytest.CaptureFixture[str], tmp_path: Path):
    assert main.run(["-c", str(tmp_path / "none.toml"), "bootloader", "show"]) == 0
    assert capfd.readouterr().out == (Path(manageboot.__file__).parent / "bootloader" / "grub.cfg").read_text()
