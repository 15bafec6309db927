"""A file that is written in place: sector by sector, past the page cache, flushed, and read back."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING, Self

from grubenv import debug, view
from grubenv.disk.device import first_difference, read_direct, write_direct
from grubenv.errors import DamagedError, FlushError, GrubEnvError, StorageError, from_os_error, reason
from grubenv.place import pread_all, require_regular

if TYPE_CHECKING:
    from grubenv.writing.order import Step

_PAGE_SIZE = 65536
"""Bytes: a multiple of the page size of every machine."""
DIRECT_UNITS = (512, 4096)
"""The logical block sizes, in bytes, that disks have; the smallest that the disk accepts is written."""


class Storage:
    """Hold one open regular file, written in place and read past the cache. It never grows or shrinks the file."""

    def __init__(self, directory_fd: int, name: str, path: str) -> None:
        """Open the file `name` of the open directory for reading and writing; `path` is for messages.

        Raises:
            AbsentError, NotRegularError, NotPermittedError, StorageError: it cannot be opened.
        """
        self.path = path
        self.offsets_in = path
        """What the offsets of reads and writes are in: the file, or the disk that it is inside of."""
        try:
            require_regular(os.stat(name, dir_fd=directory_fd, follow_symlinks=False), "update", path)
            self.descriptor = os.open(
                name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory_fd
            )
        except OSError as exc:
            raise from_os_error(exc, "update", path) from exc
        self.wrote_direct = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def flush(self) -> None:
        """Force down what is not on the disk yet, what a boot loader left in the drive's cache included.

        fdatasync is meant: it sends the data, the metadata that is needed to find it, and the flush to the
        drive, but spares the directory and the journal a write for the time stamp alone.

        Raises:
            FlushError: always final.
        """
        try:
            os.fdatasync(self.descriptor)
        except OSError as exc:
            raise FlushError(f"flush failed ({reason(exc)})", verb="update", path=self.path) from exc
        if debug.tell:
            debug.tell("flush %s", self.path)

    def read(self) -> bytes:
        """Return the whole file as the disk holds it. Call `flush` first: what is not written back is dropped.

        Raises:
            StorageError: it cannot be read.
        """
        try:
            size = os.fstat(self.descriptor).st_size
            data = self.read_range(0, size + 1)
        except OSError as exc:
            raise from_os_error(exc, "read", self.path) from exc
        if len(data) != size:
            raise StorageError(f"{len(data)} of {size} bytes could be read", path=self.path)
        return data

    def read_range(self, offset: int, length: int) -> bytes:
        """Return bytes as the disk holds them, fewer at the end."""
        if self._set_direct(True):
            try:
                data = read_direct(self.descriptor, offset, length)
                if debug.tell:
                    debug.tell("read %s at %d, %d bytes, past the cache", self.offsets_in, offset, len(data))
                return data
            except OSError as exc:
                if exc.errno != errno.EINVAL:
                    raise
        self._set_direct(False)
        # The kernel drops whole pages only.
        start = offset // _PAGE_SIZE * _PAGE_SIZE
        end = -(-(offset + length) // _PAGE_SIZE) * _PAGE_SIZE
        os.posix_fadvise(self.descriptor, start, end - start, os.POSIX_FADV_DONTNEED)
        data = pread_all(self.descriptor, offset, length)
        if debug.tell:
            debug.tell("read %s at %d, %d bytes, through the cache", self.offsets_in, offset, len(data))
        return data

    def write_sector(self, image: bytes, offset: int, length: int) -> None:
        """Write the bytes of `image` at `offset` with a single call, directly where the file system allows it.

        Args:
            image: the whole content that the file is to have afterwards, as long as the file.
            offset: bytes, a multiple of the sector size.
            length: bytes, at most one sector.

        Raises:
            StorageError: the write failed or was cut short.

        Durability: none before `flush`.
        """
        try:
            if not self._write_direct(image, offset, length):
                self._set_direct(False)
                written = os.pwrite(self.descriptor, image[offset : offset + length], offset)
                self._require_whole(written, length, offset)
                if debug.tell:
                    debug.tell("write %s at %d, %d bytes, through the cache", self.path, offset, written)
        except OSError as exc:
            raise StorageError(f"write failed ({reason(exc)})", verb="update", path=self.path, offset=offset) from exc

    def _write_direct(self, image: bytes, offset: int, length: int) -> bool:
        """Write the smallest unit around the sector that the disk accepts; return False if it accepts none."""
        for unit in DIRECT_UNITS:
            start = offset // unit * unit
            if length > unit or start + unit > len(image) or not self._set_direct(True):
                continue
            written = write_direct(self.descriptor, image[start : start + unit], start)
            if written is None:
                continue
            self._require_whole(written, unit, start)
            if debug.tell:
                debug.tell("write %s at %d, %d bytes, past the cache", self.path, start, written)
            self.wrote_direct = True
            return True
        return False

    def _set_direct(self, wanted: bool) -> bool:
        """Turn O_DIRECT on or off; return whether it is on."""
        flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
        changed = flags | os.O_DIRECT if wanted else flags & ~os.O_DIRECT
        try:
            fcntl.fcntl(self.descriptor, fcntl.F_SETFL, changed)
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
            return False
        return wanted

    def _require_whole(self, written: int, length: int, offset: int) -> None:
        if written != length:
            raise StorageError(
                f"only {written} of {length} bytes were written", verb="update", path=self.path, offset=offset
            )


def carry_out(storage: Storage, steps: list[Step], old: bytes) -> str:
    """Write each step's sector, flush it, and in the end compare what the disk holds with what was wanted.

    Args:
        old: what the disk holds before.

    Returns:
        `unchanged` if there are no steps; `direct` or `buffered`, by the way that was taken.

    Raises:
        FlushError, StorageError: `now` of the error says what a reading past the cache found afterwards.

    Durability: on return the last step's image is on the disk; cut before, one of the images is, or `old`.
    """
    if debug.tell:
        planned = ", ".join(f"{step.length} bytes at {step.offset}" for step in steps) or "nothing changes"
        debug.tell("plan for %s: %s", storage.path, planned)
    if not steps:
        return "unchanged"
    target = steps[-1].image
    try:
        for step in steps:
            storage.write_sector(step.image, step.offset, step.length)
            storage.flush()
    except StorageError as error:
        error.now = _what_the_disk_holds(storage, old, target)
        raise
    found = storage.read()
    if found != target:
        raise StorageError("what was read back is not what was written", offset=first_difference(found, target))
    if debug.tell:
        debug.tell("compare %s: what was read back is what was wanted", storage.path)
    return "direct" if storage.wrote_direct else "buffered"


def _what_the_disk_holds(storage: Storage, old: bytes, target: bytes) -> str:
    """Read past the cache after a failure, once, without another flush."""
    try:
        found = storage.read()
    except GrubEnvError:
        return "unreadable"
    if found in (old, target):
        return "old" if found == old else "new, but not known to be durable"
    try:
        return "old variables" if view.variables(found) == view.variables(old) else "neither"
    except DamagedError:
        return "damaged"
