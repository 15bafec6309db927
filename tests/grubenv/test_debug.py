"""`grubenv --debug`: what it shows is what the kernel was asked for, and what is done is the same without it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.strace import traced, writes
from tests.grubenv.blocks import SAMPLE, block

PREFIX = re.compile(r"grubenv: debug: \d+\.\d{6} ")
ROOT = Path(__file__).parents[2]
DAMAGED = SAMPLE[:1000] + b"x" + b"#" * 23
COMMANDS: dict[str, tuple[bytes | None, list[str]]] = {
    "set": (SAMPLE, ["set", "boot_cycle=first_boot"]),
    "unset": (SAMPLE, ["unset", "foreign"]),
    "nothing to set": (SAMPLE, ["set", "boot_cycle=stable"]),
    "make": (None, ["set", "boot_cycle=stable"]),
    "create": (SAMPLE, ["create"]),
    "repair": (DAMAGED, ["repair"]),
    "repair by a new file": (block(b"boot_cycle=stable\n", 600)[:-1] + b"x", ["repair", "boot_cycle=stable"]),
    "list": (SAMPLE, ["list"]),
    "list what is damaged": (b"junk" * 256, ["list"]),
}


def command(path: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "grubenv", str(path), *words]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "GRUBENV_DEBUG"}
    return kept | {"PYTHONPATH": str(ROOT)} | more


def run(argv: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60, env=environment(**more))


def split(stderr: str) -> tuple[list[str], str]:
    """The lines of --debug without their beginning, and all else."""
    lines = stderr.splitlines(keepends=True)
    shown = [PREFIX.sub("", line).rstrip("\n") for line in lines if PREFIX.match(line)]
    return shown, "".join(line for line in lines if not PREFIX.match(line))


def prepared(path: Path, data: bytes | None) -> Path:
    path.parent.mkdir()
    if data is not None:
        path.write_bytes(data)
    os.sync()
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_it_changes_nothing_of_what_is_done(tmp_path: Path, name: str) -> None:
    data, words = COMMANDS[name]
    path = prepared(tmp_path / "boot" / "grubenv", data)
    plain, left = run(command(path, *words)), path.read_bytes()
    shutil.rmtree(path.parent)
    prepared(path, data)
    shown = run(command(path, "--debug", *words))
    lines, rest = split(shown.stderr)
    assert (shown.returncode, shown.stdout, rest, path.read_bytes()) == (
        plain.returncode,
        plain.stdout,
        plain.stderr,
        left,
    )
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, process \d+ of user \d+: .*", lines[0])
    assert run(command(path, *words)).stderr == run(command(path, *words), GRUBENV_DEBUG="0").stderr


def test_what_an_update_shows(tmp_path: Path) -> None:
    path = prepared(tmp_path / "boot" / "grubenv", SAMPLE)
    lines, _ = split(run(command(path, "set", "boot_cycle=first_boot"), GRUBENV_DEBUG="1").stderr)
    told = [re.sub(", (past|through) the cache$", ", SOMEHOW", line) for line in lines[1:]]
    assert told == [
        f"lock {path}",
        f"flush {path}",
        f"read {path} at 0, 1024 bytes, SOMEHOW",
        f"plan for {path}: 512 bytes at 0",
        f"write {path} at 0, 512 bytes, SOMEHOW",
        f"flush {path}",
        f"read {path} at 0, 1024 bytes, SOMEHOW",
        f"compare {path}: what was read back is what was wanted",
    ]


def test_what_a_new_file_shows(tmp_path: Path) -> None:
    path = prepared(tmp_path / "boot" / "grubenv", b"junk" * 256)
    lines, _ = split(run(command(path, "--debug", "create")).stderr)
    told = [line for line in lines[1:] if line != "write back the journal"]
    assert told[-5:] == [
        f"write {path}.new at 0, 1024 bytes, flushed",
        f"link {path}.held to grubenv",
        f"flush {path.parent}",
        f"rename {path}.new to grubenv",
        f"flush {path}, and its directory",
    ]


@pytest.mark.parametrize("name", ["set", "unset", "make", "create", "repair", "repair by a new file"])
def test_the_writes_are_those_of_the_kernel(tmp_path: Path, name: str) -> None:
    data, words = COMMANDS[name]
    path, trace = prepared(tmp_path / "boot" / "grubenv", data), tmp_path / "trace"
    shown, _ = split(run(traced(trace, command(path, "--debug", *words))).stderr)
    told = [re.match(r"write (\S+) at (\d+), (\d+) bytes", line) for line in shown]
    expected = [call for call in writes(trace) if call[0].startswith(str(path.parent))]
    assert expected
    assert [(match[1], int(match[2]), int(match[3])) for match in told if match] == expected


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
def test_nowhere_to_show_it_fails_nothing(tmp_path: Path, where: str) -> None:
    path = prepared(tmp_path / "boot" / "grubenv", SAMPLE)
    done = run(["bash", "-c", f'"$@" {where}', "bash", *command(path, "--debug", "unset", "foreign")])
    assert (done.returncode, done.stdout) == (0, "")
    assert b"foreign" not in path.read_bytes()


@pytest.mark.parametrize("is_open", [True, False], ids=["full", "broken"])
def test_a_pipe_that_nobody_reads_keeps_nobody_waiting(tmp_path: Path, is_open: bool) -> None:
    path = prepared(tmp_path / "boot" / "grubenv", SAMPLE)
    read_end, write_end = os.pipe()
    os.write(write_end, bytes(64 << 10))
    if not is_open:
        os.close(read_end)
    words = command(path, "--debug", "unset", "foreign")
    subprocess.run(words, check=True, stderr=write_end, timeout=60, env=environment())
    os.close(write_end)
    if is_open:
        os.close(read_end)
    assert b"foreign" not in path.read_bytes()


def test_a_name_with_a_line_break_makes_no_line_of_its_own(tmp_path: Path) -> None:
    path = prepared(tmp_path / "a\nb\x1b" / "grubenv", SAMPLE)
    lines, rest = split(run(command(path, "--debug", "set", "a=1")).stderr)
    assert rest == ""
    assert rf"lock {tmp_path}/a\x0ab\x1b/grubenv" in lines
