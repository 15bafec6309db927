"""Many writers at once, and a kill at every system call."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

import pytest

import grubenv
from grubenv import EnvBlock, view
from tests.grubenv.blocks import STATE, block
from tests.grubenv.crash.operations import CROWDED

ROOT = Path(grubenv.__file__).parents[1]
WRITERS = 50
CHANGES = 3
WRITE = """
import os, sys
import grubenv.updating
path, writers, changes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
gate, opened = os.pipe()
for number in range(writers):
    if os.fork() == 0:
        os.close(opened)
        os.read(gate, 1)
        for turn in range(changes):
            grubenv.update(path, {"shared": f"{number}.{turn}", f"own{number}": str(turn)}, timeout_s=300)
        sys.exit()
os.close(opened)
sys.exit(any([os.wait()[1] for _ in range(writers)]))
"""
"""Each writer is a process. All begin at once, and it ends well when all of them did."""


def test_fifty_writers_lose_nothing(tmp_path: Path) -> None:
    """Each adds a name of its own and changes a shared one; a reader only ever sees whole blocks."""
    path = tmp_path / "grubenv"
    path.write_bytes(block(b"shared=none\n", 2048))
    command = [sys.executable, "-c", WRITE, path, str(WRITERS), str(CHANGES)]
    with subprocess.Popen(command, cwd=ROOT) as writers:
        readings = read_until_they_end(writers, path)
    assert writers.returncode == 0
    found = grubenv.query(path)
    assert {name for name, value in found.items() if value == str(CHANGES - 1)} >= {f"own{i}" for i in range(WRITERS)}
    assert readings > WRITERS


def read_until_they_end(writers: subprocess.Popen[bytes], path: Path) -> int:
    """Read the block again and again, which has to be whole each time; return how often."""
    last: dict[str, int] = {}
    readings = 0
    while writers.poll() is None:
        found = dict(EnvBlock.parse(grubenv.read_bytes(path)))
        number, _, turn = found.pop("shared").partition(".")
        own = {name: int(value) for name, value in found.items()}
        assert own.keys() >= last.keys()
        assert all(own[name] >= value for name, value in last.items())
        assert number == "none" or own[f"own{number}"] == int(turn)
        last = own
        readings += 1
    return readings


FORKS = """
import os, signal, sys
import grubenv.updating, grubenv.repairing
for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        open("/dev/null").close()
        {operation}
        break
    os.waitpid(pid, os.WUNTRACED)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
"""Forks for each line that it reads, lets strace attach, and tells how the operation ended. It has imported all."""
OPERATIONS = {
    "update": (
        block(b"boot_alternative=A\nboot_cycle=stable\n"),
        'grubenv.update(sys.argv[1], {"boot_alternative": "B", "boot_cycle": "first_boot"})',
    ),
    "staged": (
        CROWDED,
        'new = {"boot_alternative": "B", "boot_cycle": "first_boot"}; '  # noqa: ISC004
        "grubenv.update(sys.argv[1], new, required_in_first_sector=new)",
    ),
    "repair": (block(b"boot_alternative=B\nboot_cycle=first_boot", 300), "grubenv.repair(sys.argv[1])"),
}
CHANGING = {
    "write",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "fchmod",
    "fchown",
}


class Traced:
    """An operation that is carried out again and again, each time by a process of its own."""

    def __init__(self, operation: str, path: Path) -> None:
        program = [sys.executable, "-S", "-c", FORKS.format(operation=operation), path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
        self._forks = subprocess.Popen(program, env=environment, stdin=-1, stdout=-1, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._forks.communicate()

    def run(self, *options: str) -> int:
        """Carry it out while strace, with some options, looks on; return its exit status."""
        assert self._forks.stdin
        assert self._forks.stdout
        print(file=self._forks.stdin, flush=True)
        pid = int(self._forks.stdout.readline())
        with subprocess.Popen(["strace", *options, "-p", str(pid)], stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr
            first = strace.stderr.readline()
            os.kill(pid, signal.SIGCONT)
            status = int(self._forks.stdout.readline())
            said = first + strace.stderr.read()
        # Some containers forbid it; in CI, that is a failure.
        if "attached" not in first:
            pytest.skip(f"strace cannot trace here: {said}")
        return status


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_kill_at_any_system_call_leaves_old_or_new(tmp_path: Path, name: str) -> None:
    if not shutil.which("strace"):
        pytest.skip("not installed: strace")
    before, code = OPERATIONS[name]
    path = tmp_path / "grubenv"
    with Traced(code, path) as operation:
        kill_at_each_call(operation, path, before, CHANGING if name == "repair" else None)


def kill_at_each_call(operation: Traced, path: Path, before: bytes, only: set[str] | None) -> None:
    """Kill it at each system call, or at those of some names: a repair makes hundreds.

    A kill at one of the others leaves what the last one left.
    """
    path.write_bytes(before)
    log = path.with_name("log")
    assert operation.run("-o", str(log)) == 0
    lines = [line for line in log.read_text().splitlines() if re.match(r"\w+\(", line)]
    calls = [line.partition("(")[0] for line in lines]
    start = next(index for index, line in enumerate(lines) if '"/dev/null"' in line)
    interesting = calls[start:]
    # Which of the two also depends on whether the kernel has written the file already.
    assert "flock" in interesting
    assert {"fsync", "fdatasync"} & set(interesting)
    finals = set()
    for index, call in enumerate(interesting):
        if call == "exit_group" or (only is not None and call not in only):
            continue
        number = calls[: start + index + 1].count(call)
        path.write_bytes(before)
        inject = f"inject={call}:signal=KILL:when={number}"
        status = operation.run("-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
        after = path.read_bytes()
        assert view.variables(after) in (view.variables(before), {**view.variables(before), **STATE}), (call, number)
        finals.add((status != 0, after != before))
    assert (True, False) in finals
    assert (True, True) in finals
    assert operation.run("-o", "/dev/null") == 0
    assert view.variables(path.read_bytes()).items() >= STATE.items()
