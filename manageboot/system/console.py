"""What a run prints: results on stdout, all else on stderr, each message one line.

A result has to be taken. A message has not: a pipe or a terminal that nobody reads, or that is broken, must neither
stop the work nor hold it up, least of all while the lock is held.
"""

import io
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from manageboot import errors
from manageboot.system.text import one_line

_STDERR = 2

_ROOM_WAIT_S = 0.2
"""Time for the reader of a full pipe or terminal to make room for a message."""

_POLL_INTERVAL_S = 0.005

_listeners: list[Callable[[str], None]] = []

debug: Callable[..., None] | None = None
"""Shows what is done, where `--debug` asks for it: takes a text, and the values for each %s in it, and raises nothing.
None: nobody asked, so whoever has something to show does no more than look here. See `system.debug`."""


def listen(listener: Callable[[str], None]) -> None:
    """Let somebody else have every line that is told, too; what a listener raises is lost, like a line."""
    _listeners.append(listener)


def tell(line: str) -> None:
    """Print a line on stderr. Nobody there to read it is no reason to wait, or to call what was done a failure."""
    line = one_line(line)
    for listener in _listeners:
        with suppress(Exception):
            listener(line)
    _write(f"{line}\n", _ROOM_WAIT_S)


def show(text: str, wait_s: float = 0) -> bool:
    """Print on stderr what may be missed, such as progress, as it is.

    Where a pipe is half full nobody has read for long, and the rest is kept for messages: whoever looks into it at the
    end finds the error.

    Args:
        text: what to print.
        wait_s: time for a reader to make room.

    Returns:
        Whether all of it was taken.
    """
    ends_s = time.monotonic() + wait_s
    while _is_filling():
        if time.monotonic() >= ends_s:
            return False
        time.sleep(_POLL_INTERVAL_S)
    return _write(text, wait_s)


def is_journal() -> bool:
    """Tell whether stderr goes to the journal. Source: JOURNAL_STREAM in systemd.exec(5)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(_STDERR)
    except OSError:
        return False
    return (str(status.st_dev), str(status.st_ino)) == (device, inode)


def answer(text: str, *, painted: bool = False) -> None:
    """Print a result on stdout; it may have several lines.

    Args:
        text: the result.
        painted: whether it has colours in it; then all else that a terminal would obey was escaped before.

    Raises:
        DeviceError: nobody takes it.
    """
    lines = text.split("\n") if painted else [one_line(line) for line in text.split("\n")]
    try:
        if sys.stdout is None:
            raise BrokenPipeError("standard output is closed")
        if isinstance(sys.stdout, io.TextIOWrapper):
            # What the locale calls for could not take every name.
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
        print(*lines, sep="\n", flush=True)
    except OSError as error:
        if sys.stdout is not None:
            # What is still buffered must not fail a second time at exit.
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise errors.from_os_error(error, "write the result", errors.DeviceError) from error


def _write(text: str, wait_s: float) -> bool:
    """Write to stderr, or lose what finds no room in time; return whether all was taken."""
    # Where nothing is left to load a module with, there is nothing to lose either.
    with suppress(OSError, ImportError, MemoryError):
        import select

        descriptor = _unblocking()
        try:
            room = select.poll()
            room.register(descriptor, select.POLLOUT)
            rest = text.encode("utf-8", "backslashreplace")
            # A terminal may take a part of it.
            while rest and room.poll(wait_s * 1000):
                rest = rest[os.write(descriptor, rest) :]
            return not rest
        finally:
            if descriptor != _STDERR:
                os.close(descriptor)
    return False


def _unblocking() -> int:
    """Open stderr once more, where it can be full: O_NONBLOCK on the descriptor itself would hit its other users."""
    try:
        if _is_pipe() or os.isatty(_STDERR):
            return os.open(f"/proc/self/fd/{_STDERR}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        pass  # another user's, or there is no /proc; then there is room for what poll saw room for, or nearly always
    return _STDERR


def _is_filling() -> bool:
    import fcntl
    import termios

    try:
        if not _is_pipe():
            return False
        waiting = int.from_bytes(fcntl.ioctl(_STDERR, termios.FIONREAD, bytes(4)), sys.byteorder)
        return waiting * 2 > fcntl.fcntl(_STDERR, fcntl.F_GETPIPE_SZ)
    except OSError:
        return False


def _is_pipe() -> bool:
    return stat.S_ISFIFO(os.fstat(_STDERR).st_mode)
