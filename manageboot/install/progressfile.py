"""What a running installation tells other processes: a small file beside the lock, gone when the run is."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from manageboot.system import files

_INTERVAL_S = 0.5
_NAME = "progress.json"
_MAX_BYTES = 4096


class ProgressFile:
    """Replaced as a whole, so that a reader never sees half of it. Nothing of it has to survive a power cut."""

    def __init__(self, directory: str) -> None:
        """Keep the file in the runtime directory; the caller holds the lock."""
        self._path = path(directory)
        self._last = float("-inf")

    def update(self, progress: dict[str, Any]) -> None:
        """Show how far it is, but not more often than twice a second. That it can't be shown stops nothing."""
        if time.monotonic() - self._last < _INTERVAL_S:
            return
        self._last = time.monotonic()
        with suppress(OSError):
            files.replace(self._path, json.dumps({"pid": os.getpid(), **progress}).encode())

    def remove(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            os.unlink(self._path)


@contextmanager
def shown(directory: str) -> Iterator[ProgressFile]:
    """Give a progress file in the runtime directory for the time of a with block."""
    file = ProgressFile(directory)
    try:
        yield file
    finally:
        file.remove()


def path(directory: str) -> str:
    """Return where the file is, in the runtime directory."""
    return os.path.join(directory, _NAME)


def read(directory: str, holder: str | None) -> dict[str, Any] | None:
    """Return how far the holder of the lock is.

    Args:
        directory: the runtime directory.
        holder: "PID VERB", as `lock.holder` returns it.

    Returns:
        What it showed last; None if nobody holds the lock, or the file is of another run, which was killed.
    """
    if holder is None:
        return None
    try:
        progress = files.parse(files.read(path(directory), _MAX_BYTES))
    except (OSError, ValueError):
        return None
    if not isinstance(progress, dict) or str(progress.pop("pid", None)) != holder.split()[0]:
        return None
    return progress if _is_progress(progress) else None


def _is_progress(progress: dict[str, Any]) -> bool:
    """Say whether this is what a step shows; another version may show more."""
    texts = ("phase", "state")
    numbers = ("bytes_done", "bytes_written", "bytes_kept", "bytes_verified", "seconds")
    return (
        progress.keys() >= {*texts, *numbers, "bytes_total"}
        and all(isinstance(progress[key], str) for key in texts)
        and all(progress[key] is not None and files.is_number(progress[key]) for key in numbers)
        and files.is_number(progress["bytes_total"])
        and files.is_number(progress.get("seconds_left"))
    )
