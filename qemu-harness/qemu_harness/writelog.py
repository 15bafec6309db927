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
    """Read the log of a machine that is off.

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
            if flags & _FLUSH and not sectors:
                kind, stored = Kind.FLUSH, 0
            elif flags & _DISCARD:
                kind, stored = Kind.ZEROS, 0
            else:
                kind, stored = Kind.WRITE, sectors * sector_size
            yield Request(number, kind, sector, sectors, bool(flags & _FUA), place + stored, path, place)
            place += stored
