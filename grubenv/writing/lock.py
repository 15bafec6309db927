"""One writer at a time."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from grubenv import debug
from grubenv.errors import LockedError, from_os_error

RUN_DIRECTORY = "/run/grubenv"
"""Where root's locks are: nobody else may open what is in it, and who can't open a file can't lock it."""

_FIRST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 0.02


@contextmanager
def locked_directory(directory: str, timeout_s: float, path: str) -> Iterator[int]:
    """Open `directory`, keep others from writing blocks in it, and yield its descriptor.

    Where nobody but root may write, the lock is a file in `RUN_DIRECTORY` that is named after the directory's device
    and inode, and so the same by every path and mount. Elsewhere, and where /run can't be written, it is
    a flock on the directory itself, which whoever may read the directory may hold. Both survive a rename of the
    block, and die with their holder. Readers take no lock.

    Args:
        timeout_s: seconds to wait for another writer, 0 or more.
        path: the file to name in errors.

    Raises:
        LockedError: the other writer did not finish in time.
        AbsentError, NotPermittedError, StorageError: the directory cannot be opened.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise from_os_error(exc, "lock", path) from exc
    deadline = time.monotonic() + timeout_s
    try:
        run_fd = _open_run_directory() if _is_roots_alone(descriptor, path) else None
        if run_fd is None:
            _acquire(descriptor, deadline, timeout_s, path)
            yield descriptor
            return
        try:
            with _locked_file(run_fd, _key(descriptor), deadline, timeout_s, path):
                yield descriptor
        finally:
            os.close(run_fd)
    finally:
        os.close(descriptor)


def acquire(descriptor: int, timeout_s: float, path: str) -> None:
    """Put a flock on an open disk; see `locked_directory`."""
    _acquire(descriptor, time.monotonic() + timeout_s, timeout_s, path)


def _is_roots_alone(directory_fd: int, path: str) -> bool:
    """Tell whether this process is root's, and only such a one can write the block: then all agree on the lock."""
    if os.geteuid() != 0:
        return False
    found = [os.fstat(directory_fd)]
    # If there is none yet, the directory alone decides who may make it.
    with suppress(OSError):
        found.append(os.stat(path))
    return all(status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) for status in found)


def _open_run_directory() -> int | None:
    try:
        with suppress(FileExistsError):
            os.mkdir(RUN_DIRECTORY, 0o700)
        descriptor = os.open(RUN_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        os.fchmod(descriptor, 0o700)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _key(directory_fd: int) -> str:
    """Name the lock. On vfat a directory keeps its inode's number for as long as somebody has it open, as we have."""
    status = os.fstat(directory_fd)
    return f"{os.major(status.st_dev)}-{os.minor(status.st_dev)}-{status.st_ino}"


@contextmanager
def _locked_file(run_fd: int, name: str, deadline: float, timeout_s: float, path: str) -> Iterator[None]:
    """Hold a lock file, and remove it in the end."""
    while True:
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=run_fd)
        except OSError as exc:
            raise from_os_error(exc, "lock", path) from exc
        try:
            _acquire(descriptor, deadline, timeout_s, path)
            if not os.fstat(descriptor).st_nlink:
                continue  # its last holder removed it while we waited
            try:
                yield
            finally:
                with suppress(OSError):
                    os.unlink(name, dir_fd=run_fd)
            return
        finally:
            os.close(descriptor)


def _acquire(descriptor: int, deadline: float, timeout_s: float, path: str) -> None:
    pause = _FIRST_PAUSE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"another process is writing it, waited {timeout_s:g} s", verb="update", path=path
                ) from exc
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        except OSError as exc:
            raise from_os_error(exc, "lock", path) from exc
        else:
            if debug.tell:
                debug.tell("lock %s", path)
            return
