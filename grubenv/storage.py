"""Bytes to and from the disk itself: aligned, past the page cache, flushed."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from typing import Self

from grubenv import debug
from grubenv.errors import FlushError, StorageError, from_os_error, reason
from grubenv.regular import pread_all, require_regular

ALIGNMENT = 4096
"""Bytes: buffers and lengths that are multiples of this suit every disk's direct access."""
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
        try:
            require_regular(os.stat(name, dir_fd=directory_fd, follow_symlinks=False), "update", path)
            self.descriptor = os.open(
                name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory_fd
            )
        except OSError as exc:
            raise from_os_error(exc, "update", path) from exc
        self.wrote_direct = False

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
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
            if self._set_direct(True):
                try:
                    return self._read_direct()
                except OSError as exc:
                    if exc.errno != errno.EINVAL:
                        raise
            self._set_direct(False)
            os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            data = pread_all(self.descriptor)
            if debug.tell:
                debug.tell("read %s at 0, %d bytes, through the cache", self.path, len(data))
            return data
        except OSError as exc:
            raise from_os_error(exc, "read", self.path) from exc

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
            with mmap.mmap(-1, ALIGNMENT) as buffer:
                buffer[:unit] = image[start : start + unit]
                with memoryview(buffer)[:unit] as view:
                    try:
                        written = os.pwritev(self.descriptor, [view], start)
                    except OSError as exc:
                        if exc.errno == errno.EINVAL:
                            continue
                        raise
            self._require_whole(written, unit, start)
            if debug.tell:
                debug.tell("write %s at %d, %d bytes, past the cache", self.path, start, written)
            self.wrote_direct = True
            return True
        return False

    def _read_direct(self) -> bytes:
        size = os.fstat(self.descriptor).st_size
        with mmap.mmap(-1, size // ALIGNMENT * ALIGNMENT + ALIGNMENT) as buffer:
            count = os.preadv(self.descriptor, [buffer], 0)
            if count != size:
                raise StorageError(f"{count} of {size} bytes could be read", path=self.path)
            if debug.tell:
                debug.tell("read %s at 0, %d bytes, past the cache", self.path, count)
            return buffer[:count]

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
