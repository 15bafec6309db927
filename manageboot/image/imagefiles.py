"""An update image that is two files, the boot image and the root image; the file system knows their holes."""

import errno
import os
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import Self, TypeVar

from manageboot.errors import (
    ImageFormatError,
    ImageMemberError,
    ImageTruncatedError,
    InputError,
    ManagebootError,
    UsageError,
    from_os_error,
)
from manageboot.image.member import BOOT, ROOT, Member
from manageboot.image.source import STDIN, kind_of, open_input
from manageboot.image.sparse import MAX_EXTENTS, SparseMap

_Error = TypeVar("_Error", bound=ManagebootError)


class ImageFile:
    """An open file whose bytes are an image."""

    def __init__(self, path: str, name: str) -> None:
        """Open an image file.

        Args:
            path: a regular file.
            name: the member that it stands for.

        Raises:
            UsageError: it is standard input.
            InputError: it can't be opened, or is no regular file.
            NotPermittedError: the caller may not read it.
            ImageMemberError: it is empty.
        """
        if path == STDIN:
            message = f"cannot read {name} from standard input: of two image files, each has to be a file"
            raise UsageError(message)
        self.path = path
        self.name = name
        self.consumed = 0  # bytes of the image that have been read, holes included
        self._fd, self._status = open_input(path, wait=False)  # a pipe is refused
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """The size of the image in bytes."""
        return self._status.st_size

    def error(self, kind: type[_Error], cause: str, *, hint: str | None = None) -> _Error:
        """Make the error that says why this file can't be read."""
        return kind(f"cannot read {self.path}: {cause}", hint=hint)

    def _check(self) -> None:
        if not stat.S_ISREG(self._status.st_mode):
            kind = kind_of(self._status.st_mode)
            message = f"cannot open {self.path}: it is {kind}, and {self.name} has to be a regular file"
            raise InputError(message)
        if not self.size:
            raise self.error(ImageMemberError, "it is empty")
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def member(self) -> Member:
        """Find the holes, and return the image to be read."""
        file = (self._status.st_dev, self._status.st_ino)
        return Member(self.name, self._extents(), self._read, self.error, file=file)

    def finish(self) -> None:
        """Check that nobody has changed the file since it was opened.

        Raises:
            ImageFormatError: somebody has.
        """
        now = os.fstat(self._fd)
        if now.st_size != self.size:
            cause = f"its size went from {self.size} to {now.st_size} while it was read"
            raise self.error(ImageFormatError, cause)
        if now.st_mtime_ns != self._status.st_mtime_ns:
            raise self.error(ImageFormatError, "it was changed while it was read")
        self.consumed = self.size

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _extents(self) -> SparseMap:
        extents = SparseMap(self.size)
        position = 0
        while position < self.size:
            start = self._seek(position, os.SEEK_DATA)
            if start >= self.size:
                break
            position = self.size
            if len(extents.starts) < MAX_EXTENTS - 1:  # of a file with more, the rest counts as data
                position = min(self._seek(start, os.SEEK_HOLE), self.size)
            extents.add(start, position - start)
        return extents

    def _seek(self, position: int, whence: int) -> int:
        try:
            return os.lseek(self._fd, position, whence)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data up to the end
                return self.size
            if error.errno in {errno.EINVAL, errno.EOPNOTSUPP}:  # a file system that knows no holes
                return position if whence == os.SEEK_DATA else self.size
            raise from_os_error(error, f"find the holes of {self.path}") from error

    def _read(self, window: memoryview, offset: int) -> None:
        position = 0
        while position < len(window):
            try:
                got = os.preadv(self._fd, [window[position:]], offset + position)
            except OSError as error:
                raise from_os_error(error, f"read {self.path} at {offset + position}") from error
            if not got:
                cause = f"it shrank while it was read: it ends at {offset + position} of {self.size} bytes"
                raise self.error(ImageTruncatedError, cause)
            position += got
        self.consumed = offset + len(window)


class ImageFiles:
    """Two image files; what the methods promise stands at UpdateImage."""

    format = "files"
    sha256 = None
    ignored = ()
    remarks = ()

    def __init__(self, boot: str, root: str) -> None:
        """Open both files before anything is read from either."""
        self._files = [ImageFile(boot, BOOT)]
        try:
            self._files.append(ImageFile(root, ROOT))
            self.known = [file.member() for file in self._files]
        except BaseException:
            self.close()
            raise

    @property
    def bytes_total(self) -> int:
        """The size of both files, holes included."""
        return sum(file.size for file in self._files)

    @property
    def bytes_read(self) -> int:
        """How much of both has been read or, being a hole, passed over."""
        return sum(file.consumed for file in self._files)

    def members(self) -> Iterator[Member]:
        """Give the boot image, then the root image."""
        for file, member in zip(self._files, self.known, strict=True):
            yield member
            file.finish()

    def cancel(self) -> None:
        """Do nothing: files keep nobody waiting."""

    def close(self) -> None:
        """Close both files."""
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        """Return the update image itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close both files."""
        self.close()
