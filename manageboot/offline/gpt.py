"""The partitions of a disk that is not this node's own, or of an image: as its GPT has them, not as the kernel does.

The table is another system's, and may be anybody's: each number in it is compared with the size of the disk before
anything is read or multiplied by it.
"""

import fcntl
import os
import stat
import struct
import sys
import uuid
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from manageboot import errors

if TYPE_CHECKING:
    from manageboot.image.content import Content

_SECTOR_SIZES = (512, 4096)
_HEADER = struct.Struct("<8s4xLL4xQQ16x16sQLLL")
"""Signature, size of the header, its checksum, its sector and that of the other one, GUID, sector of the entries, their
number, their size and their checksum."""
_SIGNATURE = b"EFI PART"
_CHECKSUM = slice(16, 20)
_ENTRY = struct.Struct("<16s16sQQ8x72s")
"""Type, GUID, first sector, last sector, name."""
_UNUSED = bytes(16)
_MOST_ENTRY_BYTES = 1 << 20

_MBR = struct.Struct("<446x 4x B 11x 4x B 11x 4x B 11x 4x B 11x H")
"""The types of the four partitions, and the signature of the sector."""
_MBR_SIGNATURE = 0xAA55
_PROTECTIVE = 0xEE

# Source: linux/fs.h.
_BLKSSZGET = 0x1268


class Partition(NamedTuple):
    """One partition; offset and size in bytes."""

    uuid: str
    label: str
    offset: int
    size: int
    kind: str
    """The GUID of its type, in lower case."""
    number: int
    """Counted from 1, as GRUB and the kernel do."""


class PartitionTable(NamedTuple):
    """What the GPT says."""

    disk: str
    """The path of the disk or image."""
    guid: str
    """The disk's own identifier, in lower case."""
    sector_size: int
    """In bytes."""
    partitions: tuple[Partition, ...]

    def find(self, spec: str) -> Partition:
        """Find the partition of a specification PARTUUID=... or PARTLABEL=...

        Raises:
            ConfigError: it is of another kind, which only means something in the running system.
            DeviceMissingError: there is none.
            DeviceAmbiguousError: there are several.
        """
        kind, _, value = spec.partition("=")
        if kind == "PARTUUID":
            found = [one for one in self.partitions if one.uuid == value.lower()]
        elif kind == "PARTLABEL":
            found = [one for one in self.partitions if one.label == value]
        else:
            raise errors.ConfigError(
                f"cannot find {spec} on {self.disk}: only PARTUUID=... and PARTLABEL=... say where on a disk it is",
                hint="name the slots so in a configuration of its own, and give that with -c",
            )
        if not found:
            raise errors.DeviceMissingError(f"cannot find {spec} on {self.disk}: no partition has it")
        if len(found) > 1:
            raise errors.DeviceAmbiguousError(f"cannot find {spec} on {self.disk}: {len(found)} partitions have it")
        return found[0]


def read(disk: str, descriptor: int) -> PartitionTable:
    """Read the GPT of an open disk or image; where the one at its begin is damaged, the one at its end.

    Raises:
        PartitionTableError: there is none, or its partitions overlap, lie over the table, or beyond the end; or the
            disk has an MBR that says otherwise.
        DeviceError: it can't be read.

    Source: UEFI Specification, version 2.10, section 5.3; GRUB grub-core/partmap/gpt.c and Linux
    block/partitions/efi.c, which look at no GPT behind an MBR that has no entry for it.
    """
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        for sector_size in _sector_sizes(descriptor):
            for sector in (1, size // sector_size - 1):
                found = _read_at(disk, descriptor, size, sector, sector_size)
                if found is not None:
                    _check_mbr(disk, os.pread(descriptor, _MBR.size, 0))
                    table, places = found
                    _check(table, places, size)
                    return table
    except OSError as error:
        raise errors.from_os_error(error, f"read {disk}") from error
    raise _no_table(disk, descriptor)


def _no_table(disk: str, descriptor: int) -> errors.PartitionTableError:
    """Make the error that says what is there instead of a GPT."""
    from manageboot.image import content

    try:
        head = os.pread(descriptor, content.HEAD_BYTES, 0)
    except OSError as error:
        raise errors.from_os_error(error, f"read {disk}") from error
    doing = f"cannot read the partitions of {disk}"
    what = content.describe(head)
    if what is None or what == "a whole disk with a GPT":
        return errors.PartitionTableError(f"{doing}: it has no GPT, or a damaged one")
    return errors.PartitionTableError(f"{doing}: it is {what}, and has no GPT", hint=_hint(content.foreign(head)))


def _hint(found: "Content | None") -> str | None:
    """Say how to come from what is there to the image of a disk."""
    from manageboot.image import formats

    if found is None or found.is_disk:
        return None
    if found.remedy == formats.UNPACK:
        return "unpack it, and give the image of the disk that is inside"
    return found.remedy


def _check_mbr(disk: str, sector: bytes) -> None:
    """Refuse a GPT that nobody reads: one that was left behind when the disk was partitioned anew with an MBR.

    An entry for the GPT may stand beside others, in a hybrid MBR. A sector that is no MBR, such as one of zeros,
    decides nothing: it may be what is damaged.
    """
    if len(sector) < _MBR.size:
        return
    *kinds, signature = _MBR.unpack(sector)
    if signature == _MBR_SIGNATURE and _PROTECTIVE not in kinds:
        raise errors.PartitionTableError(
            f"cannot read the partitions of {disk}: its MBR has no entry of type EE",
            hint="neither GRUB nor Linux looks at a GPT behind such an MBR",
        )


def _sector_sizes(descriptor: int) -> Sequence[int]:
    """Give the sizes of sectors that the table may count in: first that of the device, where it is one."""
    if stat.S_ISBLK(os.fstat(descriptor).st_mode):
        own = int.from_bytes(fcntl.ioctl(descriptor, _BLKSSZGET, bytes(4)), sys.byteorder)
        return sorted(_SECTOR_SIZES, key=lambda size: size != own)
    return _SECTOR_SIZES


def _read_at(
    disk: str, descriptor: int, size: int, sector: int, sector_size: int
) -> tuple[PartitionTable, list[range]] | None:
    """Read one of the two tables; say as well which bytes are of either, or of the sector before them."""
    header = os.pread(descriptor, sector_size, sector * sector_size) if sector > 0 else b""
    if len(header) < _HEADER.size:
        return None
    signature, header_size, checksum, own, other, guid, first, count, entry_size, entries_checksum = (
        _HEADER.unpack_from(header)
    )
    sound = signature == _SIGNATURE and own == sector and _HEADER.size <= header_size <= sector_size
    if not sound or zlib.crc32(_without_checksum(header[:header_size])) != checksum:
        return None
    length = count * entry_size
    if entry_size < _ENTRY.size or length > _MOST_ENTRY_BYTES or first * sector_size + length > size:
        return None
    entries = os.pread(descriptor, length, first * sector_size)
    if len(entries) != length or zlib.crc32(entries) != entries_checksum:
        return None
    found = tuple(_partitions(entries, entry_size, sector_size))
    sectors = -(-len(entries) // sector_size)
    # Only this one's entries are known; those of the other lie beside its header, after the first or before the second.
    there = 2 if sector > 1 else other - sectors
    places = [(0, 2), (first, sectors), (max(own, other), 1), (there, sectors)]
    taken = [range(start * sector_size, (start + count) * sector_size) for start, count in places]
    return PartitionTable(disk, str(uuid.UUID(bytes_le=guid)), sector_size, found), taken


def _without_checksum(header: bytes) -> bytes:
    return header[: _CHECKSUM.start] + bytes(4) + header[_CHECKSUM.stop :]


def _partitions(entries: bytes, entry_size: int, sector_size: int) -> Iterator[Partition]:
    for number, start in enumerate(range(0, len(entries), entry_size), 1):
        kind, identifier, first, last, name = _ENTRY.unpack_from(entries, start)
        if kind != _UNUSED:
            label = name.decode("utf-16-le", "replace").partition("\0")[0]
            size = (last - first + 1) * sector_size
            guid, type_guid = (str(uuid.UUID(bytes_le=one)) for one in (identifier, kind))
            yield Partition(guid, label, first * sector_size, size, type_guid, number)


def _check(table: PartitionTable, taken: Sequence[range], disk_size: int) -> None:
    """Refuse a table by which a write to one slot would land in another, or in the table."""
    doing = f"use the partitions of {table.disk}"
    end = 0
    for one in sorted(table.partitions, key=lambda partition: partition.offset):
        named = one.label or one.uuid
        if one.size <= 0 or one.offset < end:
            raise errors.PartitionTableError(f"cannot {doing}: {named} overlaps with another one")
        end = one.offset + one.size
        if end > disk_size:
            raise errors.PartitionTableError(f"cannot {doing}: {named} ends at byte {end}, and the disk at {disk_size}")
        if any(one.offset < place.stop and place.start < end for place in taken):
            raise errors.PartitionTableError(f"cannot {doing}: {named} overlaps with the table itself")
