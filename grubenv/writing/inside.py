"""An environment block inside a vfat file system that is not mounted: on the disk of a system that is stopped.

The file is found as GRUB finds it, and its sectors are overwritten in place, as GRUB does. It never changes its size,
and nothing else of the file system is touched.
"""

from __future__ import annotations

import os

from grubenv import debug
from grubenv.disk import fat
from grubenv.disk.device import write_direct
from grubenv.errors import AbsentError, NotRegularError, StorageError, from_os_error, reason
from grubenv.place import MAX_SIZE, Inside, pread_all
from grubenv.view import SECTOR_SIZE
from grubenv.writing.lock import acquire
from grubenv.writing.storage import Storage


def read_inside(place: Inside) -> bytes:
    """Return the content of the file.

    Raises:
        AbsentError, NotRegularError, NotPermittedError, StorageError: it cannot be read.
    """
    try:
        descriptor = os.open(place.device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = _find(descriptor, place)
            runs = [(place.offset + offset, length) for offset, length in found.runs]
            return b"".join(_whole(pread_all(descriptor, at, length), length, str(place)) for at, length in runs)
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise from_os_error(exc, "read", str(place)) from exc


class InsideStorage(Storage):
    """Hold the file open as `Storage` does; a flock on the disk keeps other writers out."""

    def __init__(self, place: Inside, timeout_s: float) -> None:
        """Find the file; wait so many seconds for another writer.

        Raises:
            AbsentError, NotRegularError, LockedError, NotPermittedError, StorageError: see `grubenv.update`.
        """
        self.path = str(place)
        self.offsets_in = place.device
        self.wrote_direct = False
        try:
            self.descriptor = os.open(place.device, os.O_RDWR | os.O_CLOEXEC)
            try:
                acquire(self.descriptor, timeout_s, self.path)
                found = _find(self.descriptor, place)
            except BaseException:
                os.close(self.descriptor)
                raise
        except OSError as exc:
            raise from_os_error(exc, "update", self.path) from exc
        self._runs = [(place.offset + offset, length) for offset, length in found.runs]

    def read(self) -> bytes:
        """Return the whole file as the disk holds it. Call `flush` first: what is not written back is dropped.

        Raises:
            StorageError: it cannot be read.
        """
        try:
            return b"".join(_whole(self.read_range(at, length), length, self.path) for at, length in self._runs)
        except OSError as exc:
            raise from_os_error(exc, "read", self.path) from exc

    def write_sector(self, image: bytes, offset: int, length: int) -> None:
        """Write the bytes of `image` at `offset` with a single call, directly where the disk allows it.

        Raises:
            StorageError: the write failed or was cut short.

        Durability: none before `flush`.
        """
        position = self._position(offset)
        data = image[offset : offset + length]
        try:
            if not self._write_aligned(data, position):
                self._set_direct(False)
                self._require_whole(os.pwrite(self.descriptor, data, position), length, offset)
                if debug.tell:
                    debug.tell("write %s at %d, %d bytes, through the cache", self.offsets_in, position, length)
        except OSError as exc:
            raise StorageError(f"write failed ({reason(exc)})", verb="update", path=self.path, offset=offset) from exc

    def _write_aligned(self, data: bytes, position: int) -> bool:
        """Write a whole sector past the cache; return False where that is not to be had, as on sectors of 4096."""
        if len(data) != SECTOR_SIZE or position % SECTOR_SIZE or not self._set_direct(True):
            return False
        written = write_direct(self.descriptor, data, position)
        if written is None:
            return False
        self._require_whole(written, SECTOR_SIZE, position)
        if debug.tell:
            debug.tell("write %s at %d, %d bytes, past the cache", self.offsets_in, position, written)
        self.wrote_direct = True
        return True

    def _position(self, offset: int) -> int:
        """Return where on the disk a byte of the file lies; clusters are whole sectors, so a sector is never split."""
        for start, length in self._runs:
            if offset < length:
                return start + offset
            offset -= length
        raise StorageError(f"it ends before byte {offset}", verb="update", path=self.path)


def _whole(data: bytes, length: int, path: str) -> bytes:
    if len(data) != length:
        raise StorageError(f"{len(data)} of {length} bytes could be read", path=path)
    return data


def _find(descriptor: int, place: Inside) -> fat.Found:
    try:
        found = fat.find(
            lambda offset, length: os.pread(descriptor, length, place.offset + offset), place.size, place.name
        )
    except fat.UnknownLayoutError as exc:
        raise StorageError(str(exc), path=str(place)) from exc
    if found is None:
        raise AbsentError(f"there is no {place.name}", path=str(place))
    if found.size > MAX_SIZE:
        raise NotRegularError(f"{found.size} bytes are more than a block has", path=str(place))
    return found
