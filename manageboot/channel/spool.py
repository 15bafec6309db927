"""Frames that were fetched and are on no device yet: kept in memory beside the lock, so that a kill costs none of them.

Each is a file that bears its SHA-256 as its name. Whoever takes one up compares it with that, so it need be neither
whole nor right. A reboot leaves nothing of them.
"""

import errno
import hashlib
import os
from bisect import insort
from contextlib import suppress
from typing import NamedTuple

from manageboot.channel.plan import Plan, Planned
from manageboot.system import files

SPOOL_BYTES = 8 << 20
"""How much is fetched ahead of the devices, as it is stored: enough that a line and a device need not wait in turns."""

_NAME = "fetched"
_TICK_S = 0.1


class _Ahead(NamedTuple):
    """A frame that is kept, in the order of the windows that are written."""

    row: int
    """The first window that needs it, as its row."""
    number: int
    size: int
    """As it is stored, in bytes."""
    role: str
    begin: int
    end: int
    """Where that window goes: begin and end, in bytes."""


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
        self._here: set[int] = set()
        self._ahead: list[_Ahead] = []
        # Files of frames that are on their device, with their sizes: written over, they take no pages that are new.
        self._spare: list[tuple[str, int]] = []
        self._cancelled = False
        found = _listed(self._folder)
        for number in range(index.frame_count if found else 0):
            frame = index.frame(number)
            if frame.sha256.hex() in found and plan.needs(number) and self._read(number) is not None:
                self._note(number, frame.size)
                plan.has(number)
        for name in found - {self._name(number) for number in self._here}:
            _remove(os.path.join(self._folder, name))

    def take(self, number: int) -> bytes | None:
        """Return a frame that is here; None: it is not."""
        return self._read(number) if number in self._here else None

    def keep(self, number: int, stored: bytes) -> None:
        """Keep a frame until the first window that needs it is on its device."""
        path = self._path(number)
        try:
            descriptor = self._open(path)
            try:
                if os.write(descriptor, stored) != len(stored):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.ftruncate(descriptor, len(stored))
            finally:
                os.close(descriptor)
        except OSError:
            # No room in memory: a kill would cost this frame.
            _remove(path)
        else:
            self._note(number, len(stored))
        self._drop_spare()

    def make_room(self, number: int, row: int) -> None:
        """Wait until there is room for a frame, as windows before its own are written.

        Returns at once where the installation was ended. What the same window needs, or a later one, is not waited for:
        it is written after this frame has come.

        Args:
            number: that of the frame.
            row: that of the window which is being read.
        """
        needed = self._index.frame(number).size
        wait_s = 0.0
        while not self._cancelled:
            # They are written in the order of their windows.
            while self._ahead and self._ahead[0].row < row and self._is_written(self._ahead[0], wait_s):
                self._let_go(self._ahead.pop(0))
                wait_s = 0.0
            earlier = sum(one.size for one in self._ahead if one.row < row)
            # Out of order, nothing is written yet.
            if not earlier or earlier + needed <= SPOOL_BYTES or not self._plan.in_order:
                return
            wait_s = _TICK_S

    def cancel(self) -> None:
        """Let nobody wait any more."""
        self._cancelled = True

    def _note(self, number: int, size: int) -> None:
        # A file that was spoiled is fetched and kept once more.
        if number not in self._here:
            self._here.add(number)
            insort(self._ahead, _Ahead(self._plan.home_row(number), number, size, *self._plan.home(number)))

    def _is_written(self, one: _Ahead, wait_s: float) -> bool:
        assert self._plan.passive is not None
        return self._plan.passive.is_written(one.role, one.end, wait_s)

    def _let_go(self, one: _Ahead) -> None:
        """Have no more use for a frame whose window is on its device.

        That with the header is kept: its place on the device is zeros until all else is written.
        """
        assert self._plan.passive is not None
        if self._plan.passive.stays(one.role, one.begin):
            self._here.discard(one.number)
            self._spare.append((self._path(one.number), one.size))
            self._drop_spare()

    def _drop_spare(self) -> None:
        """Let files that nobody uses take no more memory than there is for those that are used."""
        used = sum(one.size for one in self._ahead)
        while self._spare and used + sum(size for _, size in self._spare) > SPOOL_BYTES:
            _remove(self._spare.pop()[0])

    def _open(self, path: str) -> int:
        """Return a file to write a frame to, which may hold anything."""
        if self._spare:
            files.take_over(self._spare.pop()[0], path)
        else:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def _read(self, number: int) -> bytes | None:
        """Return a frame as its file has it; None: that is not the frame, or not there."""
        frame = self._index.frame(number)
        try:
            with open(self._path(number), "rb") as file:
                stored = file.read(frame.size + 1)
        except OSError:
            return None
        return stored if hashlib.sha256(stored).digest() == frame.sha256 else None

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
