"""Child processes that an event loop waits for: a program with its output, or a function of our own.

A child's end shows at a descriptor, so nobody polls, and no signal handler is needed.
"""

import errno
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import NamedTuple, NoReturn

from manageboot.system import text
from manageboot.system.process import search_path, why_not

_TAIL_BYTES = 1 << 16
"""How much of the end of a program's output is kept."""
NOT_THERE = 127
_CANNOT_START = 126
"""The status of a program that does not start, because it is not there, or for another cause; as a shell has it."""
_LACKING = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""What the system says where it has no process, memory or descriptor to spare."""
_DEATH_S = 5.0
"""How long a killed process may take to end; one that waits for a broken disk does not."""

_LONGEST_WAIT_S = 3600.0
"""What poll(2) is asked for at a time: its milliseconds are an int of C."""
_END_S = 1.0
"""How long the loop waits for one that it killed and does not ask any more."""


class Outcome(NamedTuple):
    """How a child ended."""

    status: int | None
    """Its exit status, or minus the signal that ended it; None: its time was up, and it was killed."""
    output: str = ""
    """The end of what it printed on stdout: its answer, which nothing else may get into."""
    said: str = ""
    """The end of what it printed on stderr, unless that is mixed with its answer."""
    lacking: bool = False
    """Whether it did not start for want of processes, memory or descriptors, which is no fault of its own."""


class _Pipe:
    """The end of what a child prints into a pipe."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor: int | None = descriptor
        self._tail = b""

    @property
    def text(self) -> str:
        return text.decode(self._tail).strip()

    def read(self) -> None:
        # One that prints faster than it is read must not keep the loop here.
        for _ in range(16):
            if self.descriptor is None:
                return
            try:
                piece = os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                return
            if not piece:
                self.close()
            self._tail = (self._tail + piece)[-_TAIL_BYTES:]

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


class Child:
    """A child process, its descriptors, and its time."""

    def __init__(self, pid: int, pipes: Sequence[int], ends_s: float) -> None:
        """Watch a process that leads its own group.

        Args:
            pid: the process.
            pipes: the ends of the pipes that it writes to: for its stdout, and for its stderr.
            ends_s: when its time is up, by the clock of the caller.
        """
        self._ends_s = ends_s
        self._pid = pid
        self._pipes = [_Pipe(descriptor) for descriptor in pipes]
        self._killed_s: float | None = None
        self._exit = os.pidfd_open(pid)

    @property
    def descriptors(self) -> list[int]:
        """What to wait for: each becomes readable when there is something to do for `advance`."""
        return [self._exit, *(pipe.descriptor for pipe in self._pipes if pipe.descriptor is not None)]

    @property
    def wake_s(self) -> float:
        """When to call `advance` though nothing happens."""
        return self._ends_s if self._killed_s is None else self._killed_s + _DEATH_S

    def advance(self, now_s: float) -> Outcome | None:
        """Take what it printed, kill it when its time is up, and return how it ended, if it did."""
        self._read()
        # First, because the caller may be late, as after a sleep of the whole node; then it ended in its time.
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0 and now_s >= self._ends_s and self._killed_s is None:
            self._killed_s = now_s
            self.kill()
            pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0 and (self._killed_s is None or now_s < self._killed_s + _DEATH_S):
            return None
        # What it left behind in its group, and what that may still print, is not waited for.
        self._read()
        self.kill()
        self._close()
        os.close(self._exit)
        code = os.waitstatus_to_exitcode(status) if self._killed_s is None else None
        output, said, *_ = *(pipe.text for pipe in self._pipes), "", ""
        return Outcome(code, output, said)

    def kill(self) -> None:
        """Kill its whole process group."""
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill it and be done with it, whatever it printed; one that waits for a broken disk is left to the system."""
        self.kill()
        self._close()
        poll = select.poll()
        poll.register(self._exit, select.POLLIN)
        poll.poll(_END_S * 1000)
        os.waitpid(self._pid, os.WNOHANG)
        os.close(self._exit)

    def _read(self) -> None:
        for pipe in self._pipes:
            pipe.read()

    def _close(self) -> None:
        for pipe in self._pipes:
            pipe.close()


def spawn(argv: Sequence[str], ends_s: float, *, mixed: bool = False) -> Child | Outcome:
    """Start a program in a session of its own, without input; what it prints is kept.

    Args:
        argv: the program and its arguments.
        ends_s: when its time is up, by the clock of the caller.
        mixed: whether stderr goes where stdout does, in the order in which a person would see it. What is judged is not
            mixed: any library that a program loads may print something there.

    Returns:
        The child, or, where it does not start, an outcome as a shell would give it.
    """
    with ExitStack() as stack:
        ours: list[int] = []
        theirs: list[int] = []
        try:
            for _ in range(1 if mixed else 2):
                reading, writing = os.pipe()
                ours.append(reading)
                theirs.append(writing)
                stack.callback(os.close, writing)
            pid = os.posix_spawn(
                _found(argv[0]),
                list(argv),
                {"PATH": search_path(), "LC_ALL": "C.UTF-8"},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, _nothing(), os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, theirs[0], 1),
                    (os.POSIX_SPAWN_DUP2, theirs[-1], 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
            )
            return _watched(pid, ours, ends_s)
        except (OSError, ValueError) as error:
            for descriptor in ours:
                os.close(descriptor)
            return _not_started(argv[0], error)


def fork(function: Callable[[], int], ends_s: float, *, without: Sequence[int] = ()) -> Child | Outcome:
    """Run a function in a child process, whose exit status is what it returns.

    What the function imports, and what it waits for, does not stay with the caller, which must not have threads.

    Args:
        function: what to run.
        ends_s: when its time is up, by the clock of the caller.
        without: descriptors that the child closes, such as a lock that must not outlive the caller.

    Returns:
        The child, or, where there is no process or no descriptor to spare, an outcome as of a program.
    """
    try:
        pid = os.fork()
    except OSError as error:
        return _not_started("a process", error)
    if pid == 0:
        for descriptor in without:
            os.close(descriptor)
        _run(function)
    # Both do it, so that it is done whoever comes first.
    with suppress(OSError):
        os.setpgid(pid, pid)
    try:
        return _watched(pid, (), ends_s)
    except OSError as error:
        return _not_started("a process", error)


def within(timeout_s: float, function: Callable[[], int]) -> int | None:
    """Run a function in a child process and wait for it, but no longer than so many seconds.

    Returns:
        What the function returned; None: its time was up, or it could not start. One that waits for a disk is left
        behind.
    """
    child = fork(function, time.monotonic() + timeout_s)
    if isinstance(child, Outcome):
        return None
    while (outcome := child.advance(time.monotonic())) is None:
        poll = select.poll()
        for descriptor in child.descriptors:
            poll.register(descriptor, select.POLLIN)
        poll.poll(min(max(0.0, child.wake_s - time.monotonic()), _LONGEST_WAIT_S) * 1000 + 1)
    return outcome.status


def _watched(pid: int, pipes: Sequence[int], ends_s: float) -> Child:
    """Watch a process that has just started; one that can't be watched is ended."""
    try:
        return Child(pid, pipes, ends_s)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _found(program: str) -> str:
    """Return the path of a program. The system itself would look where the caller's environment says, or in no place.

    Raises:
        FileNotFoundError: there is none.
    """
    if "/" in program:
        return program
    places = [os.path.join(directory, program) for directory in search_path().split(":") if directory]
    for is_it in (_can_run, os.path.exists):
        if (path := next(filter(is_it, places), None)) is not None:
            return path
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _can_run(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _nothing() -> str:
    """Return what has no input. Without a /dev, a directory can't be read either."""
    return os.devnull if os.path.exists(os.devnull) else "/"


def _not_started(what: str, error: OSError | ValueError) -> Outcome:
    is_there = not isinstance(error, FileNotFoundError) or ("/" in what and os.path.exists(what))
    cause = why_not(error, what) if isinstance(error, OSError) else str(error)
    lacking = isinstance(error, OSError) and error.errno in _LACKING
    return Outcome(_CANNOT_START if is_there else NOT_THERE, said=f"cannot start {what}: {cause}", lacking=lacking)


def _run(function: Callable[[], int]) -> NoReturn:
    status = 70
    try:
        # A signal to this process is no news for the loop of the other one.
        signal.set_wakeup_fd(-1)
        os.setpgid(0, 0)
        status = function()
    finally:
        os._exit(status)
