"""The files of an ext4 file system in an image that nobody has mounted: their paths, times, and where their data lies.

It is read to explain a delta to people. What is odd is left out, and a file system that does not fit together, or has
what is not understood here, is none; so the work and the memory are bounded by the image. Source:
Documentation/filesystems/ext4 of the Linux kernel. ext2 and ext3 keep their data in block maps and are not read.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from manageboot.system.text import decode

_SUPERBLOCK_AT, _SUPERBLOCK_BYTES = 1024, 1024
_MAGIC = 0xEF53
_BLOCK_LOG_MAX = 6
"""64 KiB: 1024 << 6."""
_EXTENTS, _64BIT, _META_BG, _INLINE_DATA, _CHECKSUM_SEED = 0x40, 0x80, 0x10, 0x8000, 0x2000
"""Incompatible features."""
_METADATA_CHECKSUMS = 0x400
"""A feature that only writers have to know."""

_ROOT_INODE = 2
_KIND, _DIRECTORY, _REGULAR = 0xF000, 0x4000, 0x8000
_HAS_EXTENTS = 0x80000
"""A flag of an inode: its map is a tree of extents."""
_UNWRITTEN = 0x8000
"""An extent with more blocks than that has none of them written."""
_EXTENT_MAGIC = 0xF30A
_DEPTH_MAX = 5
_ENTRY_BYTES = 12
"""Of the head of a node of the tree, and of each entry."""
_FOLDERS_MAX = 64
"""A path with more folders is taken for a circle."""

_TIMES = {"atime": (8, 140), "ctime": (12, 132), "mtime": (16, 136), "crtime": (144, 148)}
"""Where an inode has the seconds of a time, and its nanoseconds with the upper bits of the seconds."""
_INODE_BYTES_MIN = 152
_FIELDS = {
    "mode": ("<u2", 0),
    "size_low": ("<u4", 4),
    "links": ("<u2", 26),
    "flags": ("<u4", 32),
    "map": ("V60", 40),
    "size_high": ("<u4", 108),
    **{name: ("<u4", seconds) for name, (seconds, _) in _TIMES.items()},
    **{f"{name}_extra": ("<u4", extra) for name, (_, extra) in _TIMES.items()},
}


class File(NamedTuple):
    """A regular file that has data."""

    size: int
    """In bytes."""
    times: dict[str, int]
    """When it was read, changed, written and created, by the names that `stat` has for that: numbers that say whether
    two times are the same, and no more."""
    extents: tuple[tuple[int, int], ...]
    """Where its data lies: offset in the image and length, both in bytes and in the order of the file; neither holes
    nor what is behind its end."""


class _Inode(NamedTuple):
    number: int
    size: int
    times: dict[str, int]
    map: bytes


class Ext4:
    """An ext4 file system in an image."""

    def __init__(self, image: memoryview) -> None:
        """Read a file system.

        Raises:
            ValueError: there is none, or one of another kind.
        """
        self._image = image
        block = bytes(image[_SUPERBLOCK_AT : _SUPERBLOCK_AT + _SUPERBLOCK_BYTES])
        if len(block) < _SUPERBLOCK_BYTES or _number(block, 0x38, 2) != _MAGIC:
            raise ValueError("no superblock")
        incompatible = _number(block, 0x60)
        if not incompatible & _EXTENTS or incompatible & (_META_BG | _INLINE_DATA):
            raise ValueError("another kind")
        self._inode_bytes = _number(block, 0x58, 2)
        self._group_inodes = _number(block, 0x28)
        self._first_inode = _number(block, 0x54)
        block_log = _number(block, 0x18)
        if block_log > _BLOCK_LOG_MAX or not _INODE_BYTES_MIN <= self._inode_bytes <= 1024 << block_log:
            raise ValueError("blocks or inodes of an odd size")
        self._block_bytes = 1024 << block_log
        tables = self._inode_tables(block, 64 if incompatible & _64BIT else 32)
        self.inode_ranges = [(at, self._group_inodes * self._inode_bytes) for at in tables]
        """Where the inodes lie: offset and length, in bytes."""
        self.checksum_seed: bytes | None = None
        """What the checksums of all inodes depend on; None: they have none."""
        self.is_seed_uuid = not incompatible & _CHECKSUM_SEED
        """Whether that is the UUID of the file system."""
        if _number(block, 0x64) & _METADATA_CHECKSUMS:
            self.checksum_seed = block[0x68:0x78] if self.is_seed_uuid else block[0x270:0x274]
        self._nodes: set[int] = set()
        self.files = self._files()
        """All regular files that have data, each by one of its paths."""

    def _inode_tables(self, superblock: bytes, descriptor_bytes_min: int) -> list[int]:
        """Return where the inodes of each group are."""
        inodes, blocks = _number(superblock, 0), _number(superblock, 4)
        blocks -= _number(superblock, 0x14)
        group_blocks = _number(superblock, 0x20)
        if descriptor_bytes_min > 32:
            blocks += _number(superblock, 0x150) << 32
            descriptor_bytes = _number(superblock, 0xFE, 2)
        else:
            descriptor_bytes = descriptor_bytes_min
        if not 0 < blocks * self._block_bytes <= len(self._image) or not group_blocks:
            raise ValueError("more than the image has")
        groups = -(-blocks // group_blocks)
        if inodes * self._inode_bytes > len(self._image) or inodes != groups * self._group_inodes:
            raise ValueError("inodes that do not fit")
        # The superblock is in the first block, or behind it where it fills one.
        begin = max(self._block_bytes, _SUPERBLOCK_AT + _SUPERBLOCK_BYTES)
        if descriptor_bytes < descriptor_bytes_min or begin + groups * descriptor_bytes > len(self._image):
            raise ValueError("groups that do not fit")
        tables = []
        for at in range(begin, begin + groups * descriptor_bytes, descriptor_bytes):
            descriptor = bytes(self._image[at : at + descriptor_bytes])
            high = _number(descriptor, 40) if descriptor_bytes_min > 32 else 0
            tables.append((_number(descriptor, 8) | high << 32) * self._block_bytes)
        if any(at + self._group_inodes * self._inode_bytes > len(self._image) for at in tables):
            raise ValueError("inodes that do not fit")
        return tables

    def _files(self) -> dict[str, File]:
        regular: list[_Inode] = []
        parents: dict[int, tuple[int, str]] = {}
        for mode, inode in self._inodes():
            if mode & _KIND == _DIRECTORY:
                for number, name in self._entries(inode):
                    parents.setdefault(number, (inode.number, name))
            # Those before the first one are of the file system itself, as the journal is.
            elif mode & _KIND == _REGULAR and inode.size and inode.number >= self._first_inode:
                regular.append(inode)
        found = {}
        for inode in regular:
            # Without a path are parts of others, such as their extended attributes.
            if (path := _path(inode.number, parents)) is not None and path not in found:
                found[path] = File(inode.size, inode.times, tuple(self._extents(inode)))
        return found

    def _inodes(self) -> Iterator[tuple[int, _Inode]]:
        """Give all inodes that are in use and keep their data in extents, each with its mode."""
        form = np.dtype({
            "names": list(_FIELDS),
            "formats": [form for form, _ in _FIELDS.values()],
            "offsets": [offset for _, offset in _FIELDS.values()],
            "itemsize": self._inode_bytes,
        })  # fmt: skip
        for group, (at, _) in enumerate(self.inode_ranges):
            rows = np.frombuffer(self._image, form, self._group_inodes, at)
            used = np.flatnonzero((rows["links"] > 0) & (rows["flags"] & _HAS_EXTENTS > 0))
            rows = rows[used]
            sizes = rows["size_low"].astype(np.uint64) | rows["size_high"].astype(np.uint64) << np.uint64(32)
            seconds = {name: rows[name].astype(np.uint64) << np.uint64(32) | rows[f"{name}_extra"] for name in _TIMES}
            times = zip(*(one.tolist() for one in seconds.values()), strict=True)
            numbers = (used + (group * self._group_inodes + 1)).tolist()
            for number, mode, size, stamps, tree in zip(
                numbers, rows["mode"].tolist(), sizes.tolist(), times, rows["map"], strict=True
            ):
                yield mode, _Inode(number, size, dict(zip(_TIMES, stamps, strict=True)), tree.tobytes())

    def _extents(self, inode: _Inode) -> Iterator[tuple[int, int]]:
        """Give the extents of an inode, cut where its data ends."""
        for block, begin, length in self._leaves(inode.map, None):
            if (rest := inode.size - block * self._block_bytes) > 0:
                yield begin, min(length, rest)

    def _leaves(self, node: bytes, depth_wanted: int | None) -> Iterator[tuple[int, int, int]]:
        """Give what is below a node of a tree: the block of the file, the offset in the image, and the length."""
        magic, count, _, depth = struct.unpack_from("<HHHH", node)
        if magic != _EXTENT_MAGIC or depth > _DEPTH_MAX or depth_wanted not in {None, depth}:
            return
        for at in range(_ENTRY_BYTES, min(_ENTRY_BYTES * (count + 1), len(node) - _ENTRY_BYTES + 1), _ENTRY_BYTES):
            block = _number(node, at)
            if depth:
                begin = (_number(node, at + 4) | _number(node, at + 8, 2) << 32) * self._block_bytes
                # Each node is in one tree, and once.
                if begin + self._block_bytes <= len(self._image) and begin not in self._nodes:
                    self._nodes.add(begin)
                    yield from self._leaves(bytes(self._image[begin : begin + self._block_bytes]), depth - 1)
                continue
            length = _number(node, at + 4, 2) * self._block_bytes
            begin = (_number(node, at + 8) | _number(node, at + 6, 2) << 32) * self._block_bytes
            if 0 < length <= _UNWRITTEN * self._block_bytes and begin + length <= len(self._image):
                yield block, begin, length

    def _entries(self, folder: _Inode) -> Iterator[tuple[int, str]]:
        for begin, length in self._extents(folder):
            content = bytes(self._image[begin : begin + length])
            for block in range(0, length, self._block_bytes):
                at, end = block, min(block + self._block_bytes, length)
                while at + 8 <= end:
                    inode, entry_bytes, name_bytes = struct.unpack_from("<LHB", content, at)
                    if entry_bytes < 8:
                        break
                    name = content[at + 8 : at + 8 + name_bytes]
                    if inode and name and name not in {b".", b".."}:
                        yield inode, decode(name)
                    at += entry_bytes


def _number(content: bytes, at: int, size: int = 4) -> int:
    return int.from_bytes(content[at : at + size], "little")


def _path(number: int, parents: dict[int, tuple[int, str]]) -> str | None:
    names: list[str] = []
    while number != _ROOT_INODE:
        if number not in parents or len(names) >= _FOLDERS_MAX:
            return None
        number, name = parents[number]
        names.append(name)
    return "".join(f"/{name}" for name in reversed(names))
