"""A place that releases are read from: a directory, be it of a disk, a USB stick or a mount.

What it gives may be anything: whoever asks verifies it. Another kind of place needs the same three methods.
"""

import os
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import unquote, urlsplit

from manageboot import errors
from manageboot.channel import refusals

_CHUNK_BYTES = 64 << 10


class Pack(Protocol):
    """A file that is read in pieces; a context manager that closes it."""

    def read(self, offset: int, size: int) -> bytes:
        """Return the bytes at an offset; fewer where the file ends."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Place(Protocol):
    """Where releases are."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def chunks(self, path: str) -> Iterator[bytes]:
        """Give a file in pieces, without end if it has none.

        Raises:
            InputError: there is no such file.
        """
        ...

    def open(self, path: str) -> Pack:
        """Open a file to read pieces of it.

        Raises:
            InputError: there is no such file.
        """
        ...


class Directory:
    """A place on a file system."""

    def __init__(self, path: str) -> None:
        self.name = path

    def chunks(self, path: str) -> Iterator[bytes]:
        """Give a file in pieces."""
        return self._chunks(File(self._join(path)))

    def open(self, path: str) -> "File":
        """Open a file to read pieces of it."""
        return File(self._join(path))

    def _join(self, path: str) -> str:
        return os.path.join(self.name, path)

    def _chunks(self, file: "File") -> Iterator[bytes]:
        with file:
            offset = 0
            while chunk := file.read(offset, _CHUNK_BYTES):
                yield chunk
                offset += len(chunk)


class File:
    """A regular file."""

    def __init__(self, path: str) -> None:
        """Open it.

        Raises:
            InputError: it is not there, or no regular file.
            NotPermittedError, DeviceError: it can't be opened.
        """
        self._path = path
        try:
            # Nobody waits for whoever might write into a pipe.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            raise errors.from_os_error(error, f"open {path}", errors.InputError) from error
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.close(self._descriptor)
            raise errors.InputError(f"cannot open {path}: it is not a regular file")

    def read(self, offset: int, size: int) -> bytes:
        """Return the bytes at an offset; fewer where the file ends.

        Raises:
            DeviceError: reading failed.
        """
        parts: list[bytes] = []
        try:
            while size and (part := os.pread(self._descriptor, size, offset)):
                parts.append(part)
                offset += len(part)
                size -= len(part)
        except OSError as error:
            raise errors.from_os_error(error, f"read {self._path} at {offset}") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def place_of(mirror: str) -> Place:
    """Return the place that a mirror's path or URL names.

    Raises:
        NetworkError: it is on a network.
        ConfigError: it is no absolute path, and no file: URL of this machine.
    """
    if mirror.startswith("/"):
        return Directory(mirror)
    url = urlsplit(mirror)
    if url.scheme in {"http", "https"}:
        raise refusals.NetworkError(
            f"cannot read releases from {mirror}: this version reads directories only",
            hint="copy them to a directory of this node, and name that",
        )
    if url.scheme != "file" or url.netloc not in {"", "localhost"} or not url.path.startswith("/"):
        raise errors.ConfigError(f"cannot read releases from {mirror}: it is neither an absolute path nor a file: URL")
    return Directory(unquote(url.path))


def read(place: Place, path: str, limit_bytes: int) -> bytes:
    """Read a whole file.

    Raises:
        InputError: there is no such file.
        ReleaseDigestError: it is longer than anybody would publish it.
    """
    content = bytearray()
    for chunk in place.chunks(path):
        content += chunk
        if len(content) > limit_bytes:
            raise errors.ReleaseDigestError(
                f"cannot read {place.name}/{path}: it has more than the {limit_bytes} bytes that are allowed"
            )
    return bytes(content)
