"""Finding a file of a FAT file system on the device alone, where GRUB finds it: nothing is mounted.

GRUB decides, not the specification: what it reads is read, and what it refuses is refused. Where GRUB would read beyond
the end of something, this is an error.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from grubenv.disk.fatnames import ENTRY_BYTES, entries
from grubenv.place import MAX_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Reader = Callable[[int, int], bytes]
    """Return so many bytes of the file system from an offset on."""

_BOOT_SECTOR_BYTES = 512
_BOOT_SECTOR = struct.Struct("<11xHBHBHHBH8xLLHHL")
"""Sector size, sectors per cluster, reserved sectors, FATs, root entries, sectors (16 bits), media, sectors per FAT
(16 bits), sectors (32 bits), and of FAT32: sectors per FAT, flags, version, first cluster of the root directory."""
_SECTOR_SIZES = frozenset(512 << power for power in range(7))
_CLUSTER_SECTORS = frozenset(1 << power for power in range(8))
_ONE_FAT, _ACTIVE_FAT = 0x80, 0x0F
_ANY_MEDIA = 0x08
"""The bit of the media byte that GRUB does not look at."""
_MOST_DIRECTORY_BYTES = 65536 * ENTRY_BYTES
"""The largest directory that Linux reads."""
_MOST_CLUSTERS_12 = 4085
"""With up to so many clusters, what is not FAT32 is FAT12 to GRUB. Linux and mtools read exactly so many as FAT16."""
_BITS_USED = 0x0FFFFFFF


class UnknownLayoutError(Exception):
    """GRUB does not take it for a FAT file system, or it contradicts itself."""


class Found(NamedTuple):
    """A file: its size in bytes, and the runs that it lies in, as (offset in the file system, length)."""

    size: int
    runs: tuple[tuple[int, int], ...]
    """None are given of a file that is larger than a block can be."""


class _Geometry(NamedTuple):
    cluster_size: int
    fat: int
    """Where the FAT that counts begins, in bytes; so are the others."""
    root: int
    root_size: int
    root_cluster: int
    """Of FAT32, where the root directory is a chain like any other."""
    data: int
    clusters: int
    """Those that the file system has, its FAT tells of, and its partition holds."""
    bits: int
    """How wide an entry of the FAT is."""
    either: bool
    """Whether Linux takes it for another width than GRUB, and so may have written the file."""


def find(read: Reader, size: int, name: str) -> Found | None:
    """Find a file in the root directory; None: there is none of this name. Upper and lower case are the same.

    Args:
        read: reads the partition; what it gives short is an error.
        size: bytes of the partition. No run ends beyond it, whatever the file system claims.

    Raises:
        UnknownLayoutError: there is no FAT file system, or it leads in circles, or beyond its end, its FAT's or its
            partition's.

    Source: GRUB grub-core/fs/fat.c, grub_fat_mount and grub_fat_read_data.
    """
    read = _within(read, size)
    form = _geometry(read, size)
    for found, entry in entries(_directory(read, form)):
        if found.lower() != name.lower():
            continue
        high, low, length = struct.unpack_from("<H4xHL", entry, 20)
        if length > MAX_SIZE:
            return Found(length, ())
        first = high << 16 | low  # of FAT12 and FAT16 too, where Linux does not look at the upper half
        runs = _runs(read, form, first, length)
        if form.either and _linux_runs(read, form, first, length) != runs:
            message = f"GRUB and Linux follow a FAT of exactly {_MOST_CLUSTERS_12} clusters in different ways"
            raise UnknownLayoutError(message)
        return Found(length, runs)
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
    size, per_cluster, reserved, fats, in_root, total, media, per_fat, total_32, per_fat_32, flags, version, root = (
        _BOOT_SECTOR.unpack_from(sector)
    )
    wide = not per_fat
    per_fat, total = per_fat or per_fat_32, total or total_32
    known = size in _SECTOR_SIZES and per_cluster in _CLUSTER_SECTORS and reserved and fats and per_fat
    if not known or (wide and (in_root or version)):
        raise _no_fat()
    root_sectors = -(-in_root * ENTRY_BYTES // size)
    data = reserved + fats * per_fat + root_sectors
    clusters = (total - data) // per_cluster
    if clusters <= 0:
        message = "its FAT file system has no room for data"
        raise UnknownLayoutError(message)
    narrow = 12 if clusters <= _MOST_CLUSTERS_12 else 16
    bits = 32 if wide else narrow
    active = flags & _ACTIVE_FAT if wide and flags & _ONE_FAT else 0
    if active >= fats:
        raise _no_fat()
    fat = reserved + active * per_fat
    # A block that lies behind the partition lies in a slot.
    held = (partition_size // size - data) // per_cluster
    told = per_fat * size * 8 // bits - 2
    form = _Geometry(
        per_cluster * size,
        fat * size,
        (reserved + fats * per_fat) * size,
        root_sectors * size,
        root,
        data * size,
        max(0, min(clusters, held, told)),
        bits,
        bits == 12 and clusters == _MOST_CLUSTERS_12,
    )
    wanted = (1 << min(bits, 28)) - 0x100 | media
    if _entry(read, form, 0) & _BITS_USED | _ANY_MEDIA != wanted | _ANY_MEDIA:
        raise _no_fat()
    return form


def _no_fat() -> UnknownLayoutError:
    return UnknownLayoutError("there is no FAT file system")


def _directory(read: Reader, form: _Geometry) -> Iterator[bytes]:
    """Yield the root directory piece by piece; what is behind its end need not be sound."""
    if form.bits != 32:
        yield read(form.root, form.root_size)
        return
    size = 0
    for cluster in _chain(read, form, form.root_cluster):
        yield read(_offset(form, cluster), form.cluster_size)
        size += form.cluster_size
        if size > _MOST_DIRECTORY_BYTES:
            message = f"the root directory of its FAT file system has more than {_MOST_DIRECTORY_BYTES} bytes"
            raise UnknownLayoutError(message)


def _chain(read: Reader, form: _Geometry, first: int) -> Iterator[int]:
    """Yield the clusters of a chain, each once it is needed."""
    cluster = first
    seen: set[int] = set()
    while cluster not in seen:
        if not 2 <= cluster < form.clusters + 2:
            message = f"a chain of its FAT leads to cluster {cluster} of {form.clusters}"
            raise UnknownLayoutError(message)
        seen.add(cluster)
        yield cluster
        cluster = _entry(read, form, cluster)
        if cluster >= (1 << min(form.bits, 28)) - 8:
            return
    message = "a chain of its FAT leads in a circle"
    raise UnknownLayoutError(message)


def _offset(form: _Geometry, cluster: int) -> int:
    return form.data + (cluster - 2) * form.cluster_size


def _entry(read: Reader, form: _Geometry, cluster: int) -> int:
    """Read an entry of the FAT. GRUB takes the upper bits of FAT32, which the specification reserves, as they are."""
    if form.bits == 32:
        return int(struct.unpack("<L", read(form.fat + cluster * 4, 4))[0])
    if form.bits == 16:
        return int(struct.unpack("<H", read(form.fat + cluster * 2, 2))[0])
    pair = struct.unpack("<H", read(form.fat + cluster + cluster // 2, 2))[0]
    return int(pair >> 4 if cluster & 1 else pair & 0xFFF)


def _runs(read: Reader, form: _Geometry, first: int, size: int) -> tuple[tuple[int, int], ...]:
    """Return where a file of so many bytes lies, as far as it goes; neighbours become one run.

    Raises:
        UnknownLayoutError: the chain is shorter than the file.
    """
    runs: list[tuple[int, int]] = []
    left = size
    for cluster in _chain(read, form, first) if size else ():
        offset, length = _offset(form, cluster), min(form.cluster_size, left)
        left -= length
        if runs and sum(runs[-1]) == offset:
            offset, length = runs[-1][0], runs[-1][1] + length
            del runs[-1]
        runs.append((offset, length))
        if not left:
            break
    if left:
        message = f"the chain of a file is {left} bytes too short"
        raise UnknownLayoutError(message)
    return tuple(runs)


def _linux_runs(read: Reader, form: _Geometry, first: int, size: int) -> tuple[tuple[int, int], ...] | None:
    """Return where Linux finds a file whose FAT it takes for FAT16; None: nowhere."""
    try:
        return _runs(read, form._replace(bits=16), first, size)
    except UnknownLayoutError:
        return None
