"""Finding a file of a FAT file system on the device alone, where GRUB finds it: nothing is mounted."""

from __future__ import annotations

import struct
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Reader = Callable[[int, int], bytes]
    """Return so many bytes of the file system from an offset on."""

_BOOT_SECTOR_BYTES = 512
_BOOT_SECTOR = struct.Struct("<11xHBHBHHxH8xLL4xL")
"""Sector size, sectors per cluster, reserved sectors, FATs, root entries, sectors (16 bits), sectors per FAT (16 bits),
sectors (32 bits), sectors per FAT (32 bits), first cluster of the root directory."""
_SIGNATURE = b"\x55\xaa"
_ENTRY_BYTES = 32
_END, _DELETED = 0x00, 0xE5
_LONG_NAME, _VOLUME, _DIRECTORY = 0x0F, 0x08, 0x10
_LONG_NAME_PARTS = (slice(1, 11), slice(14, 26), slice(28, 32))
_LAST_PART = 0x40
_MOST_CLUSTERS_12, _MOST_CLUSTERS_16 = 4085, 65525
_BITS_USED = 0x0FFFFFFF


class UnknownLayoutError(Exception):
    """It is no FAT file system, or one that contradicts itself."""


class Found(NamedTuple):
    """A file: its size in bytes, and the runs that it lies in, as (offset in the file system, length)."""

    size: int
    runs: tuple[tuple[int, int], ...]


class _Geometry(NamedTuple):
    sector_size: int
    cluster_size: int
    fat: int
    """Where the first FAT begins, in bytes; so are the others."""
    root: int
    root_size: int
    """0 where the root directory is a chain like any other."""
    root_cluster: int
    data: int
    clusters: int

    @property
    def bits(self) -> int:
        """How wide an entry of the FAT is; the number of clusters alone decides."""
        if self.clusters < _MOST_CLUSTERS_12:
            return 12
        return 16 if self.clusters < _MOST_CLUSTERS_16 else 32


def find(read: Reader, size: int, name: str) -> Found | None:
    """Find a file in the root directory; None: there is none of this name. Upper and lower case are the same.

    Args:
        read: reads the partition; what it gives short is an error.
        size: bytes of the partition. No run ends beyond it, whatever the file system says of itself.

    Raises:
        UnknownLayoutError: there is no FAT file system, it is larger than its partition or than its FAT, or it leads
            in circles or beyond its end.

    Source: Microsoft, FAT32 File System Specification, version 1.03.
    """
    read = _within(read, size)
    form = _geometry(read, size)
    if form.root_size:
        directory = read(form.root, form.root_size)
    else:
        directory = b"".join(read(offset, length) for offset, length in _runs(read, form, form.root_cluster))
    for found, entry in _entries(directory):
        if found.lower() != name.lower():
            continue
        high, low, length = struct.unpack_from("<H4xHL", entry, 20)
        first = (high << 16 if form.bits == 32 else 0) | low
        return Found(length, _cut(_runs(read, form, first), length) if length else ())
    return None


def _within(read: Reader, size: int) -> Reader:
    """Refuse to read beyond the partition, or less than was asked for."""

    def checked(offset: int, length: int) -> bytes:
        if offset + length > size:
            message = f"byte {offset + length} of its FAT file system lies beyond the {size} of its partition"
            raise UnknownLayoutError(message)
        data = read(offset, length)
        if len(data) < length:
            message = f"its FAT file system is cut off at byte {offset + len(data)}"
            raise UnknownLayoutError(message)
        return data

    return checked


def _geometry(read: Reader, partition_size: int) -> _Geometry:
    sector = read(0, _BOOT_SECTOR_BYTES)
    if sector[-2:] != _SIGNATURE:
        message = "there is no FAT file system"
        raise UnknownLayoutError(message)
    size, per_cluster, reserved, fats, entries, total, per_fat, total_32, per_fat_32, root_cluster = (
        _BOOT_SECTOR.unpack_from(sector)
    )
    per_fat, total = per_fat or per_fat_32, total or total_32
    if size not in {512, 1024, 2048, 4096} or not per_cluster or not reserved or fats not in {1, 2} or not per_fat:
        message = "there is no FAT file system"
        raise UnknownLayoutError(message)
    root = reserved + fats * per_fat
    root_size = entries * _ENTRY_BYTES
    data = root + -(-root_size // size)
    if data >= total:
        message = "its FAT file system has no room for data"
        raise UnknownLayoutError(message)
    if total * size > partition_size:
        # A block that lies behind the partition lies in a slot.
        message = f"its FAT file system claims {total * size} bytes of a partition of {partition_size}"
        raise UnknownLayoutError(message)
    clusters = (total - data) // per_cluster
    form = _Geometry(
        size, per_cluster * size, reserved * size, root * size, root_size, root_cluster, data * size, clusters
    )
    if (clusters + 2) * form.bits > per_fat * size * 8:
        message = f"its FAT has no room for its {clusters} clusters"
        raise UnknownLayoutError(message)
    return form


def _runs(read: Reader, form: _Geometry, first: int) -> list[tuple[int, int]]:
    """Follow a chain of clusters; neighbours become one run."""
    runs: list[tuple[int, int]] = []
    cluster = first
    for _ in range(form.clusters):
        if not 2 <= cluster < form.clusters + 2:
            message = f"a chain of its FAT leads to cluster {cluster} of {form.clusters}"
            raise UnknownLayoutError(message)
        offset = form.data + (cluster - 2) * form.cluster_size
        if runs and sum(runs[-1]) == offset:
            runs[-1] = (runs[-1][0], runs[-1][1] + form.cluster_size)
        else:
            runs.append((offset, form.cluster_size))
        cluster = _next(read, form, cluster)
        if cluster >= (1 << min(form.bits, 28)) - 8:
            return runs
    message = "a chain of its FAT leads in a circle"
    raise UnknownLayoutError(message)


def _next(read: Reader, form: _Geometry, cluster: int) -> int:
    if form.bits == 32:
        return int(struct.unpack("<L", read(form.fat + cluster * 4, 4))[0]) & _BITS_USED
    if form.bits == 16:
        return int(struct.unpack("<H", read(form.fat + cluster * 2, 2))[0])
    pair = struct.unpack("<H", read(form.fat + cluster + cluster // 2, 2))[0]
    return int(pair >> 4 if cluster & 1 else pair & 0xFFF)


def _entries(directory: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield each file of a directory with its name: the long one where there is one that belongs to it."""
    parts: dict[int, bytes] = {}
    checksum = -1
    for start in range(0, len(directory) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
        entry = directory[start : start + _ENTRY_BYTES]
        if entry[0] == _END:
            return
        if entry[0] != _DELETED and entry[11] & 0x3F == _LONG_NAME:
            if entry[0] & _LAST_PART:
                parts, checksum = {}, entry[13]
            parts[entry[0] & ~_LAST_PART] = b"".join(entry[part] for part in _LONG_NAME_PARTS)
            continue
        if entry[0] != _DELETED and not entry[11] & (_VOLUME | _DIRECTORY):
            long = b"".join(parts[number] for number in sorted(parts)) if checksum == _checksum(entry[:11]) else b""
            yield _long_name(long) or _short_name(entry), entry
        parts, checksum = {}, -1


def _long_name(raw: bytes) -> str:
    return raw.decode("utf-16-le", "replace").partition("\0")[0]


def _short_name(entry: bytes) -> str:
    base, extension = (part.decode("cp437").rstrip(" ") for part in (entry[:8], entry[8:11]))
    return f"{base}.{extension}" if extension else base


def _checksum(short: bytes) -> int:
    total = 0
    for byte in short:
        total = ((total >> 1) + ((total & 1) << 7) + byte) & 0xFF
    return total


def _cut(runs: list[tuple[int, int]], size: int) -> tuple[tuple[int, int], ...]:
    """Leave out what lies behind the end of the file.

    Raises:
        UnknownLayoutError: the chain is shorter than the file.
    """
    cut = []
    for offset, length in runs:
        cut.append((offset, min(length, size)))
        size -= cut[-1][1]
        if not size:
            return tuple(cut)
    message = f"the chain of a file is {size} bytes too short"
    raise UnknownLayoutError(message)
