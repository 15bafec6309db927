"""A pack that is read as a whole before any of it is used, since its frames are needed in no order.

It is kept in a file of the runtime directory, beside the lock: in memory, and a kill costs none of it. Whoever takes a
frame out compares it with its SHA-256, so the file need be neither whole nor right.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress

from manageboot import errors
from manageboot.channel.place import Pack
from manageboot.channel.plan import Plan
from manageboot.release.stored import verify

ROOM_LEFT_BYTES = 16 << 20
"""Of the memory of the runtime directory: for the frames that are fetched after these, and for all who use it too."""

_NAME = "fetched-ahead"


class Ahead:
    """The frames of one pack. One thread reads it ahead; any thread takes frames out then, or cancels."""

    def __init__(self, plan: Plan, pack: Pack, directory: str) -> None:
        """Take up what a run that was killed has left of it.

        Args:
            plan: needs each frame; it is told which are here.
            pack: its bytes; it is closed with this.
            directory: the runtime directory; the caller holds the lock.

        Raises:
            DeviceError: the file can't be made, or there is no room for it in memory.
        """
        self._plan = plan
        self._pack = pack
        self._path = os.path.join(directory, _NAME)
        self._closed = False
        try:
            os.makedirs(directory, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._error("make", error) from error
        try:
            self._take_up()
            self._look_for_room(directory)
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def bytes_needed(self) -> int:
        """The size of all frames that are not here, in bytes."""
        return self._plan.bytes_needed

    def fetch(self) -> Iterator[int]:
        """Read what is not here, and give the size of each frame once it is.

        Raises:
            ReleaseDigestError: a frame is not what the index names.
            DeviceError: there is no room for it.
            ManagebootError: the pack can't be read.
        """
        plan = self._plan
        plan.in_order = True
        for number in range(plan.pack.frame_count):
            if plan.needs(number):
                offset, size = plan.pack.offsets[number], plan.pack.frame(number).size
                stored = self._pack.read(offset, size)
                self._write(verify(plan.pack, number, stored, plan.name).content, offset)
                plan.has(number)
                yield size

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the pack, as far as they are here; for any thread.

        Raises:
            DeviceError: they can't be read.
        """
        try:
            return os.pread(self._descriptor, size, offset)
        except OSError as error:
            raise self._error("read", error) from error

    def cancel(self) -> None:
        """Make a read fail that waits for a server."""
        self._pack.cancel()

    def close(self) -> None:
        """Close pack and file; any number of times."""
        if not self._closed:
            self._closed = True
            self._pack.__exit__(None, None, None)
            os.close(self._descriptor)

    def _take_up(self) -> None:
        plan = self._plan
        try:
            os.ftruncate(self._descriptor, plan.pack.pack_size)
        except OSError as error:
            raise self._error("make", error) from error
        for number in range(plan.pack.frame_count):
            frame = plan.pack.frame(number)
            if hashlib.sha256(self.read(plan.pack.offsets[number], frame.size)).digest() == frame.sha256:
                plan.has(number)

    def _look_for_room(self, directory: str) -> None:
        """Leave room for all others who keep something there."""
        try:
            there = os.statvfs(directory)
        except OSError as error:
            raise self._error("make", error) from error
        free = there.f_bavail * there.f_frsize
        if free < (needed := self.bytes_needed + ROOM_LEFT_BYTES):
            clear(directory)
            raise errors.DeviceError(f"cannot make {self._path}: {free} bytes are free there, and {needed} are needed")

    def _write(self, stored: bytes, offset: int) -> None:
        rest = memoryview(stored)
        try:
            while rest:
                done = os.pwrite(self._descriptor, rest, offset)
                rest, offset = rest[done:], offset + done
        except OSError as error:
            clear(os.path.dirname(self._path))
            raise self._error("write", error) from error

    def _error(self, doing: str, error: OSError) -> errors.DeviceError:
        """Whatever it is, the installation can do without this file."""
        return errors.DeviceError(f"cannot {doing} {self._path}: {error.strerror or error}")


def clear(directory: str) -> None:
    """Drop what is kept in a runtime directory."""
    with suppress(OSError):
        os.unlink(os.path.join(directory, _NAME))
