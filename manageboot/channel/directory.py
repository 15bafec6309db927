"""A directory with releases, be it of a disk, a USB stick or a mount."""

import os
import stat
from types import TracebackType
from typing import Self

from manageboot import errors
from manageboot.channel.place import Judge, Needed


class Directory:
    """A place on a file system; what its methods promise stands at Place."""

    is_remote = False

    def __init__(self, path: str) -> None:
        self.name = self.giver = path

    def read(
        self,
        path: str,
        limit_bytes: int,
        *,
        judge: Judge | None = None,
        size: int | None = None,  # noqa: ARG002  a file of this machine says it itself
        may_lack: bool = False,  # noqa: ARG002  there are no mirrors
    ) -> bytes:
        """Read a whole file."""
        with File(os.path.join(self.name, path)) as file:
            content = file.read(0, limit_bytes + 1)
        if len(content) > limit_bytes:
            raise errors.ReleaseDigestError(
                f"cannot read {self.name}/{path}: it has more than the {limit_bytes} bytes that are allowed"
            )
        if judge is not None:
            judge(content)
        return content

    def look(self, path: str, limit_bytes: int) -> bytes:
        """Read a small file that nothing depends on."""
        return self.read(path, limit_bytes)

    def go_on(self, cause: str) -> bool:  # noqa: ARG002  whoever asks tells of it
        """Tell that there is nobody else."""
        return False

    def open(self, path: str, needed: Needed, *, aside: bool = False) -> "File":  # noqa: ARG002  a file has one source
        """Open a file to read pieces of it."""
        return File(os.path.join(self.name, path))

    def traffic(self) -> tuple[()]:
        """Return nothing: there are no mirrors."""
        return ()

    def close(self) -> None:
        """Do nothing: no file stays open."""


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

    def cancel(self) -> None:
        """Do nothing: a file keeps nobody waiting."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
