"""What a file has to be for a block to be looked for in it, and its bytes."""

from __future__ import annotations

import os
import stat

from grubenv.errors import NotRegularError

MAX_SIZE = 1024 * 1024
"""The largest file, in bytes, that is read at all: beyond it, something else lies where the block should be."""


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


def pread_all(descriptor: int) -> bytes:
    """Return the whole content of the open file, however the system divides it."""
    pieces = []
    position = 0
    while piece := os.pread(descriptor, MAX_SIZE + 1 - position, position):
        pieces.append(piece)
        position += len(piece)
    return b"".join(pieces)
