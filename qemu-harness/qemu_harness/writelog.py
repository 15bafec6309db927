"""What reached the disk of a node, in order: the log that QEMU's driver blklogwrites writes.

Its format is that of Linux's dm-log-writes: a super block, then for each request a sector that describes it, and its
data. QEMU adds a request when the disk below has done it, so the order is that in which they ended. A request that was
begun while a flush was on its way may stand before it.
"""

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from qemu_harness.layout import SECTOR_SIZE
from qemu_harness.process import HarnessError

_MAGIC = 0x6A736677736872
_VERSION = 1
_SUPER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")
_FLUSH, _FUA, _DISCARD = 1, 2, 4


class Kind(enum.Enum):
    """What was asked of the disk."""

    WRITE = "write"
    ZEROS = "zeros"
    """A write of zeros that the disk makes itself, or a discard: the blocks read as zeros afterwards."""
    FLUSH = "flush"


@dataclass(frozen=True)
class Request:
    """One request that the disk has done."""

    number: int
    """Its place in the log, counted from 0."""
    kind: Kind
    sector: int
    """The first one, of 512 bytes; 0 for a flush."""
    sectors: int
    """How many; 0 for a flush."""
    is_durable: bool
    """Whether it is on the medium when it ends, whatever was flushed (FUA)."""
    end: int
    """Where it ends in the log, in bytes: the log was this long when it had been added."""
    _log: Path
    _place: int

    @property
    def offset(self) -> int:
        """Where it begins on the disk, in bytes."""
        return self.sector * SECTOR_SIZE

    @property
    def size(self) -> int:
        """How much it writes, in bytes."""
        return self.sectors * SECTOR_SIZE

    def data(self, log: BinaryIO) -> bytes:
        """Read what it writes.

        Args:
            log: the log, open for reading.
        """
        if self.kind is not Kind.WRITE:
            return bytes(self.size)
        log.seek(self._place)
        data = log.read(self.size)
        if len(data) != self.size:
            raise HarnessError(f"{self._log} ends within request {self.number}")
        return data


def read_log(path: Path) -> Iterator[Request]:
    """Read the log of a machine that has switched itself off.

    Raises:
        HarnessError: it is none, or ends within a request.
    """
    with path.open("rb") as log:
        magic, version, count, sector_size = _SUPER.unpack(log.read(_SUPER.size))
        if (magic, version, sector_size) != (_MAGIC, _VERSION, SECTOR_SIZE):
            raise HarnessError(f"{path} is no log of writes, or of another version")
        place = sector_size
        for number in range(count):
            log.seek(place)
            head = log.read(_ENTRY.size)
            if len(head) != _ENTRY.size:
                raise HarnessError(f"{path} ends after {number} of {count} requests")
            sector, sectors, flags, _ = _ENTRY.unpack(head)
            place += sector_size
            kind, stored = _kind_of(sectors, flags)
            yield Request(number, kind, sector, sectors, bool(flags & _FUA), place + stored, path, place)
            place += stored


def read_cut_log(path: Path) -> Iterator[Request]:
    """Read the log of a machine whose QEMU was stopped and then killed; one that has not begun holds no request.

    Its super block counts only what stood there at the last flush. QEMU gives a request its place before it writes it,
    so one that was still on its way is a gap of zeros, which no head of a request is.

    Raises:
        HarnessError: it is none.
    """
    length = path.stat().st_size
    with path.open("rb") as log:
        head = log.read(SECTOR_SIZE)
        if not any(head):
            return
        if _SUPER.unpack(head[: _SUPER.size])[0] != _MAGIC:
            raise HarnessError(f"{path} is no log of writes")
        number, place = 0, SECTOR_SIZE
        while place + SECTOR_SIZE <= length:
            log.seek(place)
            sector, sectors, flags, _ = _ENTRY.unpack(log.read(_ENTRY.size))
            place += SECTOR_SIZE
            if not (sectors or flags):
                continue
            kind, stored = _kind_of(sectors, flags)
            if place + stored > length:
                return
            yield Request(number, kind, sector, sectors, bool(flags & _FUA), place + stored, path, place)
            number += 1
            place += stored


def _kind_of(sectors: int, flags: int) -> tuple[Kind, int]:
    """Say what a request is, and how many bytes of data stand behind its head."""
    if flags & _FLUSH and not sectors:
        return Kind.FLUSH, 0
    if flags & _DISCARD:
        return Kind.ZEROS, 0
    return Kind.WRITE, sectors * SECTOR_SIZE
