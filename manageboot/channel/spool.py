"""Frames that were fetched and are on no device yet: kept in memory beside the lock, so that a kill costs none of them.

Each is a file that bears its SHA-256 as its name. Whoever takes one up compares it with that, so it need be neither
whole nor right. A reboot leaves nothing of them.
"""

import errno
import hashlib
import os
from contextlib import suppress

from manageboot.channel.plan import Plan, Planned

SPOOL_BYTES = 8 << 20
"""How much is fetched ahead of the devices, as it is stored: enough that a line and a device need not wait in turns."""

_NAME = "fetched"
_TICK_S = 0.1


class Spool:
    """The frames of one pack that are kept. One thread at a time uses it, but any thread may cancel."""

    def __init__(self, directory: str, index: Planned, plan: Plan) -> None:
        """Take up what a run that was killed has left, and drop what is of no use. What can't be kept stops nothing.

        Args:
            directory: the runtime directory; the caller holds the lock.
            index: of the pack.
            plan: what of the pack is needed; it is told what is here.
        """
        self._folder = os.path.join(directory, _NAME)
        self._index = index
        self._plan = plan
        self._sizes: dict[int, int] = {}
        self._cancelled = False
        found = _listed(self._folder)
        for number in range(index.frame_count if found else 0):
            frame = index.frame(number)
            if frame.sha256.hex() in found and plan.needs(number) and self.take(number) is not None:
                self._sizes[number] = frame.size
                plan.has(number)
        for name in found - {self._name(number) for number in self._sizes}:
            _remove(os.path.join(self._folder, name))

    def take(self, number: int) -> bytes | None:
        """Return a frame that is here; None: it is not."""
        frame = self._index.frame(number)
        try:
            with open(self._path(number), "rb") as file:
                stored = file.read(frame.size + 1)
        except OSError:
            return None
        return stored if hashlib.sha256(stored).digest() == frame.sha256 else None

    def keep(self, number: int, stored: bytes) -> None:
        """Keep a frame until the first window that needs it is on its device."""
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            with open(self._path(number), "wb", buffering=0) as file:
                if file.write(stored) != len(stored):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            # No room in memory: a kill would cost this frame.
            _remove(self._path(number))
        else:
            self._sizes[number] = len(stored)

    def make_room(self, number: int, row: int) -> None:
        """Wait until there is room for a frame, as windows before its own are written.

        Returns at once where the installation was ended. What the same window needs, or a later one, is not waited for:
        it is written after this frame has come.

        Args:
            number: that of the frame.
            row: that of the window which is being read.
        """
        while not self._cancelled:
            earlier = [one for one in sorted(self._sizes, key=self._plan.home_row) if self._plan.home_row(one) < row]
            waiting = [one for one in earlier if not self._is_written(one)]
            size = sum(self._sizes[one] for one in waiting) + self._index.frame(number).size
            # Out of order, nothing is written yet.
            if size <= SPOOL_BYTES or not waiting or not self._plan.in_order:
                return
            self._is_written(waiting[0], _TICK_S)

    def cancel(self) -> None:
        """Let nobody wait any more."""
        self._cancelled = True

    def _is_written(self, number: int, wait_s: float = 0) -> bool:
        """Tell whether the window of a frame is on its device; the frame is not kept any more then.

        That with the header is, whose place on the device is zeros until all else is written.
        """
        assert self._plan.passive is not None
        role, begin, end = self._plan.home(number)
        if not self._plan.passive.is_written(role, end, wait_s):
            return False
        if self._plan.passive.stays(role, begin):
            _remove(self._path(number))
            del self._sizes[number]
        return True

    def _name(self, number: int) -> str:
        return self._index.frame(number).sha256.hex()

    def _path(self, number: int) -> str:
        return os.path.join(self._folder, self._name(number))


def clear(directory: str) -> None:
    """Drop all that is kept in a runtime directory, as the installation is done."""
    folder = os.path.join(directory, _NAME)
    for name in _listed(folder):
        _remove(os.path.join(folder, name))
    with suppress(OSError):
        os.rmdir(folder)


def _listed(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
