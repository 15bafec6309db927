"""What an ext4 file system says of its files: where their data lies, which times they have, and what they are called.

It is read to explain a delta to people, out of an image that nobody has mounted; so what is odd is left out, and a file
system that is not understood at all is none. Source: Documentation/filesystems/ext4 of the Linux kernel. ext2 and ext3
keep their data in block maps and are not read.
"""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    pass

_SUPERBLOCK_AT, _SUPERBLOCK_BYTES = 1024, 1024
_MAGIC = 0xEF53
_BLOCK_LOG_MAX = 6
"""64 KiB: 1024 << 6."""
_META_BG, _EXTENTS, _64BIT, _INLINE_DATA = 0x10, 0x40, 0x80, 0x8000
"""Incompatible features."""

_ROOT_INODE = 2
_KIND, _DIRECTORY, _REGULAR = 0xF000, 0x4000, 0x8000
_HAS_EXTENTS = 0x80000
"""A flag of an inode: its map is a tree of extents."""
_UNWRITTEN = 0x8000
"""An extent with more blocks than that has none of them written."""
_EXTENT_MAGIC = 0xF30A
_DEPTH_MAX = 5
_FOLDERS_MAX = 64
"""A path with more folders is taken for a circle."""
_TIMES = {"atime": (8, 140), "ctime": (12, 132), "mtime": (16, 136), "crtime": (144, 148)}
"""Where an inode has the seconds of a time, and its nanoseconds with the upper bits of the seconds."""
_TIMES_END = 152


class File(NamedTuple):
    """A regular file or a directory."""

    number: int
    """Of its inode."""
    size: int
    """In bytes."""
    times: dict[str, int]
    """When it was read, changed, written and created, by the names that `stat` has for that: numbers that say whether
    two times are the same, and no more."""
    extents: tuple[tuple[int, int], ...]
    """Where its data lies: offset in the image and length, both in bytes and in the order of the file. Whole blocks of
    the file system, so the last one may go on behind the end of the file."""


class Ext4:
    """An ext4 file system in an image."""

    def __init__(self, image: memoryview) -> None:
        """Read the superblock and the table of the block groups.

        Raises:
            ValueError: there is no file system of this kind.
        """
        self._image = image
        block = bytes(image[_SUPERBLOCK_AT : _SUPERBLOCK_AT + _SUPERBLOCK_BYTES])
        if len(block) < _SUPERBLOCK_BYTES or struct.unpack_from("<H", block, 0x38)[0] != _MAGIC:
            raise ValueError("no superblock")
        inodes, blocks = struct.unpack_from("<LL", block, 0)
        first_block, block_log = struct.unpack_from("<LL", block, 0x14)
        group_blocks, self._group_inodes = struct.unpack_from("<L4xL", block, 0x20)
        self._first_inode: int = struct.unpack_from("<L", block, 0x54)[0]
        self._inode_bytes: int = struct.unpack_from("<H", block, 0x58)[0]
        incompatible: int = struct.unpack_from("<L", block, 0x60)[0]
        self.uuid = block[0x68:0x78]
        self.hash_seed = block[0xEC:0xFC]
        """By which names are spread over the blocks of large directories."""
        if not incompatible & _EXTENTS or incompatible & (_META_BG | _INLINE_DATA) or block_log > _BLOCK_LOG_MAX:
            raise ValueError("an unknown kind")
        if not inodes or not group_blocks or not self._group_inodes or self._inode_bytes < _TIMES_END:
            raise ValueError("a bad superblock")
        self._block_bytes = 1024 << block_log
        descriptor_bytes: int = struct.unpack_from("<H", block, 0xFE)[0] if incompatible & _64BIT else 32
        if descriptor_bytes < 32:
            raise ValueError("a bad superblock")
        groups = -(-(blocks - first_block) // group_blocks)
        at = (first_block + 1) * self._block_bytes
        table = bytes(image[at : at + groups * descriptor_bytes])
        self._tables = [
            self._table(table[begin : begin + descriptor_bytes])
            for begin in range(0, len(table) - descriptor_bytes + 1, descriptor_bytes)
        ]
        self.inode_ranges = [(at, self._group_inodes * self._inode_bytes) for at in self._tables]
        """Where the inodes lie: offset and length, in bytes."""

    def files(self) -> Iterator[File]:
        """Give all regular files that have data, in the order of their inodes."""
        for file, mode in self._inodes():
            # Those before the first one are of the file system itself, as the journal is.
            if mode & _KIND == _REGULAR and file.size and file.number >= self._first_inode:
                yield file

    def paths(self) -> dict[int, str]:
        """Return a path for each inode that has one."""
        parents: dict[int, tuple[int, str]] = {}
        for folder, mode in self._inodes():
            if mode & _KIND == _DIRECTORY:
                parents |= {number: (folder.number, name) for number, name in self._entries(folder)}
        return {number: path for number in parents if (path := _path(number, parents)) is not None}

    def _inodes(self) -> Iterator[tuple[File, int]]:
        """Give all inodes that are in use and keep their data in extents, each with its mode."""
        form = self._form()
        for group, at in enumerate(self._tables):
            table = self._image[at : at + self._group_inodes * self._inode_bytes]
            rows = np.frombuffer(table, form, len(table) // self._inode_bytes) if table else np.zeros(0, form)
            for row in np.flatnonzero((rows["links"] > 0) & (rows["flags"] & _HAS_EXTENTS > 0)).tolist():
                inode = rows[row]
                size = int(inode["size_low"]) | int(inode["size_high"]) << 32
                times = {name: int(inode[name]) << 32 | int(inode[f"{name}_extra"]) for name in _TIMES}
                extents = tuple(self._extents(inode["map"].tobytes(), _DEPTH_MAX))
                yield File(group * self._group_inodes + row + 1, size, times, extents), int(inode["mode"])

    def _form(self) -> "np.dtype[np.void]":
        fields = {
            "mode": ("<u2", 0),
            "size_low": ("<u4", 4),
            "links": ("<u2", 26),
            "flags": ("<u4", 32),
            "map": ("V60", 40),
            "size_high": ("<u4", 108),
        }
        for name, (seconds, extra) in _TIMES.items():
            fields |= {name: ("<u4", seconds), f"{name}_extra": ("<u4", extra)}
        return np.dtype(
            {
                "names": list(fields),
                "formats": [form for form, _ in fields.values()],
                "offsets": [offset for _, offset in fields.values()],
                "itemsize": self._inode_bytes,
            }
        )

    def _extents(self, node: bytes, depth_max: int) -> Iterator[tuple[int, int]]:
        magic, count, _, depth = struct.unpack_from("<HHHH", node)
        if magic != _EXTENT_MAGIC or depth > depth_max:
            return
        for at in range(12, min(12 * (count + 1), len(node) - 11), 12):
            if depth:
                low, high = struct.unpack_from("<LH", node, at + 4)
                begin = (low | high << 32) * self._block_bytes
                below = bytes(self._image[begin : begin + self._block_bytes])
                if below:
                    yield from self._extents(below, depth - 1)
                continue
            blocks, high, low = struct.unpack_from("<HHL", node, at + 4)
            begin = (low | high << 32) * self._block_bytes
            if 0 < blocks <= _UNWRITTEN and begin + blocks * self._block_bytes <= len(self._image):
                yield begin, blocks * self._block_bytes

    def _entries(self, folder: File) -> Iterator[tuple[int, str]]:
        for begin, length in folder.extents:
            for block in range(begin, begin + length, self._block_bytes):
                at, end = block, block + self._block_bytes
                while at + 8 <= end:
                    inode, entry_bytes, name_bytes = struct.unpack_from("<LHB", self._image, at)
                    if entry_bytes < 8:
                        break
                    name = bytes(self._image[at + 8 : at + 8 + name_bytes])
                    if inode and name and name not in {b".", b".."}:
                        yield inode, name.decode(errors="backslashreplace")
                    at += entry_bytes

    def _table(self, descriptor: bytes) -> int:
        low: int = struct.unpack_from("<L", descriptor, 8)[0]
        high: int = struct.unpack_from("<L", descriptor, 40)[0] if len(descriptor) >= 64 else 0
        begin: int = (low | high << 32) * self._block_bytes
        return begin


def _path(number: int, parents: dict[int, tuple[int, str]]) -> str | None:
    names: list[str] = []
    while number != _ROOT_INODE:
        if number not in parents or len(names) >= _FOLDERS_MAX:
            return None
        number, name = parents[number]
        names.append(name)
    return "".join(f"/{name}" for name in reversed(names))
