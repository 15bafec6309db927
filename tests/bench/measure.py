"""Time one command, with all that it leaves to the kernel to do later."""

import mmap
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bench.command import started
from support.ending import end_if_asked

_SECTOR = 512
_BALLAST = """
import mmap, sys
# If others need the memory after all, it is this process that has to go.
open("/proc/self/oom_score_adj", "w").write("1000")
held, touched = map(int, sys.argv[1:])
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
kept = mmap.mmap(-1, held, flags=flags)
mmap.mmap(-1, touched, flags=flags).close()
print(".", end="", flush=True)
sys.stdin.read()
"""
_POLL_S = 0.05


class Result(NamedTuple):
    """What a run took."""

    wall_s: float
    cpu_s: float
    """Of the command and its children; not what the kernel does for them in threads of its own."""
    peak_mib: float
    """Of the largest of its processes; never below what the benchmark itself has, some 30."""
    written_mib: float
    """What it and its children wrote, temporary files included, ranges that a device zeroed not."""
    temporary_mib: float
    """The most that it had in temporary files."""


def measure(
    command: Sequence[str | Path], devices: Sequence[str], temporary: Path, cwd: Path, *, cold: bool = True
) -> Result:
    """Run a command, then flush the devices; both count.

    Args:
        command: what to run.
        devices: the targets.
        temporary: where it is told to put temporary files.
        cwd: where it runs.
        cold: drop the caches of the machine before.

    Raises:
        RuntimeError: it failed.
    """
    if cold:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    with _peak_of(temporary) as peak:
        began = time.monotonic()
        environment = {**os.environ, "TMPDIR": str(temporary)}
        with started(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as run:
            said = _read(run)
            _, status, usage = os.wait4(run.pid, 0)
            run.returncode = os.waitstatus_to_exitcode(status)
        for device in devices:
            _flush(device)
        wall = time.monotonic() - began
    if run.returncode:
        raise RuntimeError(f"{command} exited with {run.returncode}: {said.decode(errors='replace')[-2000:]}")
    # Source: linux, include/linux/task_io_accounting_ops.h; the unit is always this.
    written = usage.ru_oublock * _SECTOR
    cpu = usage.ru_utime + usage.ru_stime
    return Result(wall, cpu, usage.ru_maxrss / 1024, written / (1 << 20), peak[0] / (1 << 20))


def _read(run: subprocess.Popen[bytes]) -> bytes:
    """Return all that a command says until it ends."""
    assert run.stdout is not None
    said = b""
    while True:
        if select.select([run.stdout], [], [], _POLL_S)[0]:
            piece = os.read(run.stdout.fileno(), 1 << 16)
            if not piece:
                return said
            said += piece
        end_if_asked()


def _flush(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def ballast(free_memory: int) -> Iterator[None]:
    """Hold all memory but so many bytes, and touch those too: a page cache of any size would flatter those who use it.

    On a virtual machine the first touch of a page costs a fault in the host, seconds for each GiB; who goes first
    would pay for all.

    Raises:
        RuntimeError: the memory was needed after all, and the figures are worth nothing.
    """
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
    # In a process of its own: what this one holds would count as the peak of the commands that it starts.
    sizes = [str(max(available - free_memory, mmap.PAGESIZE)), str(min(free_memory, available) // 2)]
    command = [sys.executable, "-c", _BALLAST, *sizes]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.read(1)
        try:
            yield
            if holder.poll() is not None:
                raise RuntimeError("the machine ran out of memory; see --free-memory")
        finally:
            holder.stdin.close()


@contextmanager
def _peak_of(directory: Path) -> Iterator[list[int]]:
    """Watch how many bytes the files of a directory occupy; the list holds the most there was."""
    peak = [0]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_POLL_S):
            # Any of them may be gone a moment after it was seen.
            paths = [os.path.join(parent, name) for parent, _, names in os.walk(directory) for name in names]
            size = 0
            for path in paths:
                with suppress(FileNotFoundError):
                    size += os.lstat(path).st_blocks * _SECTOR
            peak[0] = max(peak[0], size)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
