"""What a running installation tells other processes: a small file beside the lock, gone when the run is."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_INTERVAL_S = 0.5
_NAME = "progress.json"
_MAX_BYTES = 4096


class ProgressFile:
    """Replaced as a whole, so that a reader never sees half of it. Nothing of it has to survive a power cut."""

    def __init__(self, lock: str) -> None:
        """Keep the file beside the lock, which the caller holds."""
        self._path = path(lock)
        self._last = float("-inf")

    def update(self, progress: dict[str, Any]) -> None:
        """Show how far it is, but not more often than twice a second. That it can't be shown stops nothing."""
        if time.monotonic() - self._last < _INTERVAL_S:
            return
        self._last = time.monotonic()
        temporary = f"{self._path}.new"
        with suppress(OSError):
            with open(temporary, "w", encoding="utf-8") as file:
                json.dump({"pid": os.getpid(), **progress}, file)
            os.rename(temporary, self._path)

    def remove(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            os.unlink(self._path)


@contextmanager
def shown(lock: str) -> Iterator[ProgressFile]:
    """Give a progress file for the time of a with block."""
    file = ProgressFile(lock)
    try:
        yield file
    finally:
        file.remove()


def path(lock: str) -> str:
    """Return where the file is, from the path of the lock."""
    return os.path.join(os.path.dirname(lock), _NAME)


def read(lock: str, holder: str | None) -> dict[str, Any] | None:
    """Return how far the holder of the lock is.

    Args:
        lock: the path of the lock.
        holder: "PID VERB", as `lock.holder` returns it.

    Returns:
        What it showed last; None if nobody holds the lock, or the file is of another run, which was killed.
    """
    if holder is None:
        return None
    try:
        with open(path(lock), encoding="utf-8") as file:
            progress = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError):
        return None
    if not isinstance(progress, dict) or str(progress.pop("pid", None)) != holder.split()[0]:
        return None
    return progress
