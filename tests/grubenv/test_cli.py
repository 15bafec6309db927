"""The command line: grub-editenv's arguments, our exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import grubenv
from grubenv import __main__ as cli
from grubenv import file
from grubenv.cli import commands
from grubenv.commit import release
from tests.grubenv.blocks import SAMPLE, block


def run(capfdbinary: pytest.CaptureFixture[bytes], *words: str | Path) -> tuple[int, bytes, str]:
    """Return exit code, standard output and standard error of one command line."""
    code = cli.main([str(word) for word in words])
    out, err = capfdbinary.readouterr()
    return code, out, err.decode()


def test_list(env: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    code, out, err = run(capfdbinary, env, "list")
    assert (code, out, err) == (0, b"boot_alternative=A\nboot_cycle=stable\nforeign=kept as it is\n", "")


def test_list_prints_bytes_and_duplicates_as_they_are(env: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    env.write_bytes(block(b"a=\xff\na=\xc3\xbc\\\n\n"))
    assert run(capfdbinary, env, "list")[1] == b"a=\xff\na=\xc3\xbc\n\n"


def test_set_and_unset(env: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(capfdbinary, env, "set", "boot_cycle=first_boot", "new=a=b") == (0, b"", "")
    assert run(capfdbinary, env, "unset", "foreign", "nothing") == (0, b"", "")
    assert grubenv.query(env) == {"boot_alternative": "A", "boot_cycle": "first_boot", "new": "a=b"}


def test_create_and_set_make_the_file_but_list_and_unset_do_not(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "grubenv"
    for word in ("list", "unset"):
        code, out, err = run(capfdbinary, path, word)
        verb = "read" if word == "list" else "update"
        expected = f"grubenv: error: cannot {verb} {path}: no such file or directory [ABSENT]\n"
        assert (code, out, err) == (66, b"", expected)
    assert not path.exists()
    assert run(capfdbinary, path, "set", "a=1") == (0, b"", "")
    assert path.read_bytes() == block(b"a=1\n")
    assert run(capfdbinary, path, "create") == (0, b"", "")
    assert path.read_bytes() == block(b"")


def test_the_default_path(
    env: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(file, "DEFAULT_PATH", str(env))
    expected = run(capfdbinary, env, "list")
    assert run(capfdbinary, "-", "list") == run(capfdbinary, "list") == expected


def test_options_may_stand_anywhere(env: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    code, out, err = run(capfdbinary, env, "set", "a=1", "-v")
    assert (code, out) == (0, b"")
    assert err.startswith(f"grubenv: {env}: written in place")
    assert run(capfdbinary, "-v", env, "set", "a=1")[2] == f"grubenv: {env}: nothing to change, nothing written\n"
    assert run(capfdbinary, env, "set", "--", "-odd=1")[0] == 0
    assert grubenv.query(env)["-odd"] == "1"


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="nothing"),
        pytest.param(["FILE", "frob"], id="unknown command"),
        pytest.param(["FILE", "list", "extra"], id="list takes no argument"),
        pytest.param(["FILE", "create", "extra"], id="create takes no argument"),
        pytest.param(["FILE", "set", "a"], id="set without ="),
        pytest.param(["FILE", "set", "=1"], id="set without a name"),
        pytest.param(["FILE", "set", "-x"], id="unknown option"),
        pytest.param(["FILE", "set", "a=1", "#b=1"], id="a name that is a comment"),
        pytest.param(["FILE", "list", "--json"], id="an option of another command"),
        pytest.param(["FILE", "repair", "a"], id="a fallback without ="),
        pytest.param(["FILE", "repair", "--from-cmdline", "a"], id="a key without ="),
        pytest.param(["FILE", "repair", "--cmdline"], id="an option without its value"),
    ],
)
def test_wrong_usage(env: Path, words: list[str], capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    code, out, err = run(capfdbinary, *(str(env) if word == "FILE" else word for word in words))
    assert (code, out) == (2, b"")
    lines = err.splitlines()
    assert lines[0].startswith("grubenv: error: cannot ")
    assert lines[0].endswith("]")
    assert all(line.startswith("hint: ") for line in lines[1:])
    assert env.read_bytes() == SAMPLE


def test_damage(env: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    env.write_bytes(b"junk" * 256)
    for word, verb in (("list", "read"), ("set", "update"), ("unset", "update")):
        code, out, err = run(capfdbinary, env, word)
        assert (code, out) == (65, b"")
        assert err.splitlines()[0] == f"grubenv: error: cannot {verb} {env}: no signature at offset 0 [DAMAGED]"
        assert err.splitlines()[1].startswith("hint: ")


def test_check(env: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    os.sync()
    code, out, err = run(capfdbinary, env, "check")
    assert (code, out.splitlines()[0], err) == (0, f"{env}: sound".encode(), "")
    env.write_bytes(SAMPLE[:-1])
    os.sync()
    assert run(capfdbinary, env, "check", "boot_cycle")[0] == 0
    env.write_bytes(block(b"one=" + b"x" * 500 + b"\ntwo=2\n"))
    os.sync()
    assert run(capfdbinary, env, "check", "three")[0] == 0
    code, out, _ = run(capfdbinary, env, "check", "two")
    assert code == 65
    said = "beyond-first-sector: two not within the first 512 bytes at offset 512"
    assert out.splitlines()[0] == f"{env}: {said}".encode()


def test_check_as_json(env: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    env.write_bytes(bytes(1024))
    os.sync()
    code, out, err = run(capfdbinary, env, "check", "--json")
    assert (code, err) == (65, "")
    found = json.loads(out)
    assert found["schema"] == 1
    assert found["damages"][0]["word"] == "nul-filled"


def test_repair_takes_the_slot_from_the_kernel_command_line(
    env: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    env.write_bytes(bytes(1024))
    os.sync()
    cmdline = tmp_path / "cmdline"
    cmdline.write_text("BOOT_IMAGE=/vmlinuz root=/dev/vda8 dfinity.system=B quiet\n")
    words = ["repair", "boot_cycle=stable", "--from-cmdline", "boot_alternative=dfinity.system", f"--cmdline={cmdline}"]
    code, out, err = run(capfdbinary, env, *words)
    assert (code, err) == (0, "")
    assert f"{env}: set by the fallback boot_alternative=B\n".encode() in out
    assert grubenv.query(env) == {"boot_alternative": "B", "boot_cycle": "stable"}
    assert run(capfdbinary, env, *words)[1] == f"{env}: sound, nothing to repair\n".encode()
    env.write_bytes(b"")
    cmdline.write_text("quiet\n")
    code, out, _ = run(capfdbinary, env, *words)
    assert code == 0
    assert b"the kernel command line has no dfinity.system, so boot_alternative has no fallback" in out
    assert grubenv.query(env) == {"boot_cycle": "stable"}


def test_repair_says_what_remains(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(block(b"one=" + b"x" * 900 + b"\ntwo=2\n"))
    os.sync()
    code, out, _ = run(capfdbinary, path, "repair", "two=1")
    assert code == 65
    assert b"not mended, beyond-first-sector: two not within the first 512 bytes" in out
    assert grubenv.query(path)["two"] == "2"


def test_repair_without_a_command_line_to_read(env: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    code, out, err = run(capfdbinary, env, "repair", "--from-cmdline", "a=b", "--cmdline", env / "no")
    assert (code, out) == (66, b"")
    assert "cannot read" in err


def test_help_and_version(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(capfdbinary, "--version") == (0, f"grubenv {release()}\n".encode(), "")
    code, out, _ = run(capfdbinary, "--help")
    assert code == 0
    assert out.startswith(commands.USAGE.encode())
    assert all(f"  {command}" in out.decode() for command in commands.COMMANDS)


def test_a_query_imports_nothing_heavy(env: Path) -> None:
    code = (
        "import sys; from grubenv.__main__ import main; before = set(sys.modules); main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, env, "list"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(grubenv.__file__).parents[1])},
    )
    heavy = {"construct", "dataclasses", "pathlib", "logging", "json", "enum", "re", "typing", "argparse"}
    assert not heavy & set(done.stderr.split())


def test_list_into_a_closed_pipe_is_quiet(env: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "grubenv", env, "list"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
        cwd=Path(grubenv.__file__).parents[1],
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (74, b"")


ROOT = Path(grubenv.__file__).parents[1]
RUN = [sys.executable, "-m", "grubenv"]


def shell(script: str, *words: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a shell script with the command line as "$@"."""
    return subprocess.run(
        ["sh", "-c", script, "sh", *RUN, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("words", [["list"], ["check"], ["repair"], ["--help"], ["--version"], ["--usage"]])
@pytest.mark.parametrize(
    ("where", "cause"),
    [
        pytest.param(">/dev/full", "no space left on device", id="full"),
        pytest.param(">&-", "standard output is closed", id="closed"),
        pytest.param("<&- >&-", "standard output is closed", id="stdin too"),
    ],
)
def test_a_result_that_nobody_takes(env: Path, words: list[str], where: str, cause: str) -> None:
    path = [] if words[0].startswith("-") else [env]
    done = shell(f'"$@" {where}', *path, *words)
    assert (done.returncode, done.stderr) == (74, f"grubenv: error: cannot write the result: {cause} [IO]\n")
    assert env.read_bytes() == SAMPLE


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", "<&- >&- 2>&-"])
def test_messages_that_nobody_takes(env: Path, where: str) -> None:
    """What was done is done; and no message lands in the block, in the place of a closed stream."""
    assert shell(f'"$@" {where}', env, "-v", "set", "a=1").returncode == 0
    assert grubenv.read(env)["a"] == "1"
    assert shell(f'"$@" {where}', env, "set", "a").returncode == 2
    assert grubenv.read(env)["a"] == "1"


@pytest.mark.parametrize(
    "words", [["list"], ["set", "a=1"], ["unset", "a"], ["create"], ["check"], ["repair"], ["repair", "a=1"]]
)
def test_a_relative_path_in_a_deleted_directory(tmp_path: Path, words: list[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = shell('rmdir "$PWD" && exec "$@"', "here", *words, cwd=gone)
    code, word = (73, "CANNOT_CREATE") if words == ["create"] else (66, "ABSENT")
    assert done.returncode == code
    [line] = done.stderr.splitlines()
    assert line.startswith("grubenv: error: cannot ")
    assert line.endswith(f" here: no such file or directory [{word}]")


@pytest.mark.parametrize(
    ("number", "code", "said"), [("INT", 130, "interrupted"), ("TERM", 143, "terminated"), ("HUP", 143, "terminated")]
)
def test_signals(env: Path, number: str, code: int, said: str) -> None:
    """While it waits for another writer. Python itself would end with a traceback, or at once."""
    held = "import fcntl, os, signal, sys, time; from grubenv.writing import lock; from grubenv.__main__ import main\n"
    held += f"def wait(*_): os.kill(os.getpid(), signal.SIG{number}); time.sleep(60)\n"
    held += "lock._acquire = wait; sys.argv = ['grubenv', *sys.argv[1:]]; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", held, env, "set", "a=1"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"grubenv: {said}\n")
    assert env.read_bytes() == SAMPLE
    assert list(env.parent.iterdir()) == [env]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RuntimeError("one\ntwo"), 70, r"RuntimeError: one\x0atwo ("),
        (OSError(24, "Too many open files"), 74, "too many open files [IO]"),
        (MemoryError(), 74, "no memory [IO]"),
    ],
)
def test_the_last_resort(
    error: Exception,
    code: int,
    said: str,
    env: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setitem(commands.COMMANDS, "list", fail)
    found, out, err = run(capfdbinary, env, "list")
    assert (found, out) == (code, b"")
    assert err.startswith(f"grubenv: error: cannot go on: {said}")
    assert [line.startswith("hint: ") for line in err.splitlines()] == ([False, True] if code == 70 else [False])


def test_what_comes_out_of_a_file_makes_no_line_of_its_own(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "a\nb\xfc"
    code, _, err = run(capfdbinary, path, "list")
    assert (code, err.count("\n")) == (66, 1)
    assert r"a\x0ab" in err
    path.write_bytes(block(b"boot_cycle=two\\\nlines\x1b\nx"))
    os.sync()
    out = run(capfdbinary, path, "repair")[1]
    assert rb"kept boot_cycle=two\x0alines\x1b" in out
    assert all(line.startswith(str(tmp_path).encode()) for line in out.splitlines())


def test_a_name_that_is_too_long_for_the_file_system(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for words in (["list"], ["set", "a=1"], ["create"], ["check"], ["repair"]):
        code, _, err = run(capfdbinary, tmp_path / ("n" * 300), *words)
        assert code in {73, 74}
        assert ": file name too long [" in err


def test_a_path_that_no_file_can_have() -> None:
    for ask in (grubenv.query, grubenv.read, grubenv.check, grubenv.repair, grubenv.update):
        with pytest.raises(grubenv.AbsentError, match="no file can have this path"):
            ask("a\0b")
