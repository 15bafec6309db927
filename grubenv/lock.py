"""One writer at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from grubenv.errors import LockedError, from_os_error

_FIRST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 0.02


@contextmanager
def locked_directory(directory: str, timeout_s: float, path: str) -> Iterator[int]:
    """Open `directory`, keep others from writing blocks in it, and yield its descriptor.

    The lock is a flock on the directory itself: it needs no extra file, survives a rename of the block, and
    dies with its holder. Readers take no lock.

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
    try:
        _acquire(descriptor, timeout_s, path)
        yield descriptor
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, timeout_s: float, path: str) -> None:
    deadline = time.monotonic() + timeout_s
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
            return
