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
            DeviceError, NotPermittedError: the file can't be made.
        """
        self._plan = plan
        self._pack = pack
        self._path = os.path.join(directory, _NAME)
        self._closed = False
        try:
            os.makedirs(directory, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise errors.from_os_error(error, f"make {self._path}") from error
        try:
            for number in range(plan.pack.frame_count):
                frame = plan.pack.frame(number)
                if hashlib.sha256(self.read(plan.pack.offsets[number], frame.size)).digest() == frame.sha256:
                    plan.has(number)
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
            raise errors.from_os_error(error, f"read {self._path} at {offset}") from error

    def cancel(self) -> None:
        """Make a read fail that waits for a server."""
        self._pack.cancel()

    def close(self) -> None:
        """Close pack and file; any number of times."""
        if not self._closed:
            self._closed = True
            self._pack.__exit__(None, None, None)
            os.close(self._descriptor)

    def _write(self, stored: bytes, offset: int) -> None:
        rest = memoryview(stored)
        try:
            while rest:
                done = os.pwrite(self._descriptor, rest, offset)
                rest, offset = rest[done:], offset + done
        except OSError as error:
            raise errors.from_os_error(error, f"write {self._path} at {offset}") from error


def clear(directory: str) -> None:
    """Drop what is kept in a runtime directory."""
    with suppress(OSError):
        os.unlink(os.path.join(directory, _NAME))
