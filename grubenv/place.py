"""Where a block may be: in a regular file of a mounted file system, or inside one that is not mounted."""

from __future__ import annotations

import os
import stat

from grubenv.errors import AbsentError, NotRegularError, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    Path = str | os.PathLike[str]

MAX_SIZE = 1024 * 1024
"""The largest file, in bytes, that is read at all: a larger one is something else."""


class Inside:
    """A file in the root directory of a vfat file system on a device or in an image, taken where a path is."""

    # No NamedTuple: a query would wait for typing.
    __slots__ = ("device", "name", "offset", "size")

    def __init__(self, device: str, offset: int, size: int, name: str) -> None:
        """Name a file; the file system begins at `offset`, and has `size` bytes of the device, no more."""
        self.device = device
        self.offset = offset
        self.size = size
        self.name = name

    def __str__(self) -> str:
        """Write it as mtools do: `mtype -i DEVICE@@OFFSET ::NAME`."""
        return f"{self.device}@@{self.offset}::{self.name}"

    def beside(self, name: str) -> Inside:
        """Return another file of the same directory."""
        return Inside(self.device, self.offset, self.size, name)


def place_name(path: Path | Inside) -> str:
    """Return what messages call the place of a block."""
    return str(path) if isinstance(path, Inside) else os.fspath(path)


def resolve(path: Path, *, follow_link: bool = True) -> tuple[str, str]:
    """Return (directory, name) of the file that `path` leads to, the symbolic links of its directory followed.

    Distributions link /boot/grub/grubenv to the EFI system partition. Lock, temporary file and rename have to
    be where the file is, and the link has to stay a link.

    Args:
        follow_link: whether the file itself may be a link too; whoever opens `name` in `directory` refuses one.

    Raises:
        AbsentError: the path is relative, and the working directory is gone; or no file can have such a path.
        NotRegularError: it leads to a directory.
    """
    given = os.fspath(path)
    try:
        if follow_link:
            directory, name = os.path.split(os.path.realpath(given))
        else:
            directory, name = os.path.realpath(os.path.dirname(given)), os.path.basename(given)
    except OSError as exc:
        raise from_os_error(exc, "find", given) from exc
    except ValueError as exc:
        raise impossible_path(given, exc) from exc
    if not name:
        raise NotRegularError("it is a directory, not a regular file", verb="update", path=given)
    return directory, name


def impossible_path(path: str, exc: ValueError) -> AbsentError:
    """Return the error for a path with a NUL, or with characters that file names don't have in this locale."""
    return AbsentError(f"no file can have this path ({exc})", verb="read", path=path)


def require_regular(status: os.stat_result, verb: str, path: str) -> None:
    """Refuse anything but a regular file of a size that a block can have.

    Raises:
        NotRegularError: it is a directory, a device, a pipe or a socket, or is larger than `MAX_SIZE`.
    """
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFBLK: "a block device",
        stat.S_IFCHR: "a character device",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFLNK: "a symbolic link",
    }
    if not stat.S_ISREG(status.st_mode):
        kind = kinds.get(stat.S_IFMT(status.st_mode), "of an unknown kind")
        raise NotRegularError(f"it is {kind}, not a regular file", verb=verb, path=path)
    if status.st_size > MAX_SIZE:
        raise NotRegularError(f"{status.st_size} bytes are more than a block has", verb=verb, path=path)


def pread_all(descriptor: int, offset: int = 0, length: int = MAX_SIZE + 1) -> bytes:
    """Return `length` bytes of the open file from `offset` on, fewer at its end, however the system divides them."""
    pieces = []
    while length and (piece := os.pread(descriptor, length, offset)):
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return b"".join(pieces)
