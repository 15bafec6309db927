"""One writer at a time: a lock that dies with its holder."""

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from manageboot import errors
from manageboot.system import console, files, text

_POLL_INTERVAL_S = 0.05
_TEXT_BYTES = 200
_BRIEFLY = "briefly"
_BRIEF_WAIT_S = 30.0
"""The least time to wait for a holder who needs it only for a moment; where the disk hangs, a moment is long."""
_UNSAID_WAIT_S = 1.0
"""Time for the holder to write its name; where there is no space for it, it never does."""


@contextmanager
def held(path: str, verb: str, *, wait_s: float = 0, brief: bool = False) -> Iterator[int]:
    """Hold the lock for the time of a with block.

    Args:
        path: the lock file; it and its directory are made where missing, and it stays.
        verb: what the holder does, for the message that others get.
        wait_s: how long to wait for another holder, in seconds. One that holds it briefly is waited for in any case:
            the daemon does so at its own time, and whoever calls a verb can't know when.
        brief: whether this run holds it only for a moment.

    Yields:
        The descriptor of the lock, for a child that must not hold it any longer than its parent.

    Raises:
        LockedError: another run holds it.
        NotPermittedError, CreateError: the file can't be opened.
    """
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, 0o600)
    except OSError as error:
        raise errors.from_os_error(error, f"open the lock {path}", errors.CreateError) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise errors.CreateError(f"cannot open the lock {path}: it is not a regular file", hint=f"remove {path}")
        _hide(descriptor, path)
        _acquire(descriptor, path, verb, wait_s)
        if console.debug:
            console.debug("lock %s, to %s", path, verb)
        # The text is for people; a full /run is no reason to leave a trial unconfirmed.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {verb}{f' {_BRIEFLY}' if brief else ''}\n".encode(), 0)
        try:
            yield descriptor
        finally:
            # Whoever holds it next must not be taken for this one before it says who it is.
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
            if console.debug:
                console.debug("unlock %s", path)
    finally:
        os.close(descriptor)


def wait(path: str, verb: str, *, wait_s: float) -> None:
    """Wait until nobody holds the lock, without taking it: a query must not make a verb fail.

    Args:
        path: the lock file; it need not exist.
        verb: what waits.
        wait_s: how long to wait, in seconds.

    Raises:
        LockedError: another run still holds it.
    """
    deadline = time.monotonic() + wait_s
    while (other := holder(path)) is not None:
        if time.monotonic() >= deadline:
            raise _locked(path, verb, wait_s, other)
        time.sleep(_POLL_INTERVAL_S)


def holder(path: str) -> str | None:
    """Return "PID VERB" of the run that holds the lock, or None when it is free; without rights only the PID.

    "briefly" follows where it holds it only for a moment.

    It asks the kernel's list of locks and takes none itself: a query must not make a verb fail.

    Source: proc_locks(5).
    """
    try:
        status = os.stat(path)
        with open("/proc/locks", encoding="ascii") as locks:
            holders = {fields[5]: fields[4] for line in locks if (fields := line.split())[1:2] == ["FLOCK"]}
    except OSError:
        return None
    pid = holders.get(f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}")
    if pid is None:
        return None
    try:
        said = _told(files.read(path, _TEXT_BYTES))
    except (OSError, ValueError):
        return pid
    # In the instant between the two it may say nothing yet; and who says less than that says nothing.
    return said if re.fullmatch(r"\S+ .*\S", said) else pid


def verb_of(holder: str) -> str:
    """Return what a run does that holds the lock, of what `holder` returned; empty: it did not say."""
    return holder.partition(" ")[2].removesuffix(f" {_BRIEFLY}")


def _hide(descriptor: int, path: str) -> None:
    """Keep others out: whoever may open the file may lock it, and so keep a good trial from being confirmed."""
    try:
        os.fchmod(descriptor, 0o600)
    except OSError as error:
        raise errors.from_os_error(error, f"open the lock {path}", errors.CreateError) from error


def _acquire(descriptor: int, path: str, verb: str, wait_s: float) -> None:
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno != errno.EWOULDBLOCK:
                raise errors.from_os_error(error, f"lock {path}") from error
        else:
            return
        other = _told(os.pread(descriptor, _TEXT_BYTES, 0))
        patience_s = max(wait_s, _patience_s(other))
        if time.monotonic() >= began + patience_s:
            raise _locked(path, verb, patience_s, other)
        time.sleep(_POLL_INTERVAL_S)


def _told(content: bytes) -> str:
    """Return what the holder says of itself, whoever wrote it."""
    return text.one_line(text.decode(content).strip("\n"))


def _patience_s(other: str) -> float:
    """Return how long to wait for a holder, from what it says of itself, when nobody wants to wait."""
    if not other:
        return _UNSAID_WAIT_S
    return _BRIEF_WAIT_S if other.endswith(f" {_BRIEFLY}") else 0.0


def _locked(path: str, verb: str, wait_s: float, other: str) -> errors.LockedError:
    waited = f" for more than {wait_s:g} s" if wait_s else ""
    return errors.LockedError(
        f"cannot {verb}: another run holds {path}{waited} ({other or 'unknown'})",
        hint="try again when it is done, or wait for it with --lock-timeout",
    )
