"""Child processes that an event loop waits for: a program with its output, or a function of our own.

A child's end shows at a descriptor, so nobody polls, and no signal handler is needed.
"""

import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, NoReturn

from manageboot import text
from manageboot.process import search_path

_TAIL_BYTES = 1 << 16
"""How much of the end of a program's output is kept."""
_CANNOT_START = 127
_DEATH_S = 5.0
"""How long a killed process may take to end; one that waits for a broken disk does not."""

_END_S = 1.0
"""How long the loop waits for one that it killed and does not ask any more."""


class Outcome(NamedTuple):
    """How a child ended."""

    status: int | None
    """Its exit status, or minus the signal that ended it; None: its time was up, and it was killed."""
    output: str
    """The end of what it printed."""


class Child:
    """A child process, its descriptors, and its time."""

    def __init__(self, pid: int, output: int | None, ends_s: float) -> None:
        """Watch a process that leads its own group.

        Args:
            pid: the process.
            output: the end of a pipe that it writes to.
            ends_s: when its time is up, by the clock of the caller.
        """
        self._ends_s = ends_s
        self._pid = pid
        self._output = output
        self._tail = b""
        self._killed = False
        self._exit = os.pidfd_open(pid)

    @property
    def descriptors(self) -> list[int]:
        """What to wait for: each becomes readable when there is something to do for `advance`."""
        return [self._exit] if self._output is None else [self._exit, self._output]

    @property
    def wake_s(self) -> float:
        """When to call `advance` though nothing happens."""
        return self._ends_s + _DEATH_S if self._killed else self._ends_s

    def advance(self, now_s: float) -> Outcome | None:
        """Take what it printed, kill it when its time is up, and return how it ended, if it did."""
        self._read()
        if now_s >= self._ends_s and not self._killed:
            self._killed = True
            self.kill()
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0 and now_s < self._ends_s + _DEATH_S:
            return None
        # What it left behind in its group, and what that may still print, is not waited for.
        self._read()
        self.kill()
        self._close_output()
        os.close(self._exit)
        code = None if self._killed else os.waitstatus_to_exitcode(status)
        return Outcome(code, text.decode(self._tail).strip())

    def kill(self) -> None:
        """Kill its whole process group."""
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill it and be done with it, whatever it printed; one that waits for a broken disk is left to the system."""
        self.kill()
        self._close_output()
        poll = select.poll()
        poll.register(self._exit, select.POLLIN)
        poll.poll(_END_S * 1000)
        os.waitpid(self._pid, os.WNOHANG)
        os.close(self._exit)

    def _read(self) -> None:
        # One that prints faster than it is read must not keep the loop here.
        for _ in range(16):
            if self._output is None:
                return
            try:
                piece = os.read(self._output, 1 << 16)
            except BlockingIOError:
                return
            if not piece:
                self._close_output()
            self._tail = (self._tail + piece)[-_TAIL_BYTES:]

    def _close_output(self) -> None:
        if self._output is not None:
            os.close(self._output)
            self._output = None


def spawn(argv: Sequence[str], ends_s: float) -> Child | Outcome:
    """Start a program in a session of its own, without input; what it prints on stdout and stderr is kept.

    Returns:
        The child, or, where it does not start, an outcome as a shell would give it.
    """
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    path = search_path()
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, theirs, 1),
        (os.POSIX_SPAWN_DUP2, theirs, 2),
    ]
    try:
        pid = os.posix_spawnp(
            argv[0],
            list(argv),
            {"PATH": path, "LC_ALL": "C.UTF-8"},
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP),
        )
    except OSError as error:
        os.close(ours)
        return Outcome(_CANNOT_START, f"cannot start {argv[0]}: {error.strerror}")
    finally:
        os.close(theirs)
    return Child(pid, ours, ends_s)


def fork(function: Callable[[], int], ends_s: float, *, without: Sequence[int] = ()) -> Child:
    """Run a function in a child process, whose exit status is what it returns.

    What the function imports, and what it waits for, does not stay with the caller, which must not have threads.

    Args:
        function: what to run.
        ends_s: when its time is up, by the clock of the caller.
        without: descriptors that the child closes, such as a lock that must not outlive the caller.
    """
    pid = os.fork()
    if pid == 0:
        for descriptor in without:
            os.close(descriptor)
        _run(function)
    # Both do it, so that it is done whoever comes first.
    with suppress(OSError):
        os.setpgid(pid, pid)
    return Child(pid, None, ends_s)


def within(timeout_s: float, function: Callable[[], int]) -> int | None:
    """Run a function in a child process and wait for it, but no longer than so many seconds.

    Returns:
        What the function returned; None: its time was up. One that waits for a disk is left behind.
    """
    child = fork(function, time.monotonic() + timeout_s)
    while (outcome := child.advance(time.monotonic())) is None:
        poll = select.poll()
        for descriptor in child.descriptors:
            poll.register(descriptor, select.POLLIN)
        poll.poll(max(0.0, child.wake_s - time.monotonic()) * 1000 + 1)
    return outcome.status


def _run(function: Callable[[], int]) -> NoReturn:
    status = 70
    try:
        # A signal to this process is no news for the loop of the other one.
        signal.set_wakeup_fd(-1)
        os.setpgid(0, 0)
        status = function()
    finally:
        os._exit(status)
