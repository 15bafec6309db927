"""What reached a disk, in its order: writes, flushes, and the marks between operations."""

import json
import lzma
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

SECTOR = 512
_HEADER = struct.Struct("<cQL")
_DM_SUPER = struct.Struct("<QQQL")
_DM_ENTRY = struct.Struct("<QQQQ")
_DM_MAGIC = 0x6A736677736872
_DM_FLUSH, _DM_FUA, _DM_DISCARD, _DM_MARK = 1, 2, 4, 8

Image = dict[int, bytes]
"""The sectors of a disk that are not zero, by their number."""


class Write(NamedTuple):
    offset: int
    data: bytes

    def sectors(self) -> Iterator[tuple[int, bytes]]:
        for start in range(0, len(self.data), SECTOR):
            yield (self.offset + start) // SECTOR, self.data[start : start + SECTOR]


class Flush(NamedTuple):
    pass


Event = Write | Flush


class Recording(NamedTuple):
    """One operation: the disk before it, its writes and flushes, and those that followed until it was unmounted."""

    size: int
    base: Image
    during: list[Event]
    after: list[Event]


def pack(event: Event) -> bytes:
    """Return the event as it stands in a log."""
    if isinstance(event, Flush):
        return _HEADER.pack(b"F", 0, 0)
    return _HEADER.pack(b"W", event.offset, len(event.data)) + event.data


def unpack(data: bytes) -> Iterator[Event]:
    position = 0
    while position < len(data):
        kind, offset, length = _HEADER.unpack_from(data, position)
        position += _HEADER.size
        yield Flush() if kind == b"F" else Write(offset, data[position : position + length])
        position += length


def unpack_dm(data: bytes) -> Iterator[Event]:
    """Read the log of QEMU's blklogwrites. A write that is flushed by itself (FUA) becomes a write and a flush."""
    magic, _, count, unit = _DM_SUPER.unpack_from(data)
    assert magic == _DM_MAGIC, hex(magic)
    position = unit
    for _ in range(count):
        sector, sectors, flags, _ = _DM_ENTRY.unpack_from(data, position)
        position += unit
        assert not flags & _DM_MARK
        if flags & _DM_FLUSH:
            yield Flush()
        if sectors and flags & _DM_DISCARD:
            yield Write(sector * unit, bytes(sectors * unit))
        elif sectors:
            yield Write(sector * unit, data[position : position + sectors * unit])
            position += sectors * unit
        if flags & _DM_FUA:
            yield Flush()


def divide(events: Iterable[Event], size: int) -> dict[str, Recording]:
    """Return the recording of each operation that the marks, writes to the disk's last sector, name."""
    image: Image = {}
    found: dict[str, Recording] = {}
    current: list[Event] = []
    recording = Recording(size, {}, [], [])
    for event in events:
        if isinstance(event, Flush) or event.offset != size - SECTOR:
            current.append(event)
            if isinstance(event, Write):
                apply(image, event)
            continue
        word, _, name = event.data.decode().strip().partition(" ")
        if word == "begin":
            recording = Recording(size, dict(image), [], [])
        elif word == "end":
            recording.during.extend(current)
        else:
            recording.after.extend(current)
            found[name] = recording
        current = []
    return found


def apply(image: Image, write: Write) -> None:
    for number, data in write.sectors():
        image[number] = data


def save(path: Path, recordings: dict[str, Recording]) -> None:
    """Write the recordings into one compressed file."""
    index = {}
    body = b""
    for name, recording in recordings.items():
        pieces = [
            b"".join(
                pack(Write(number * SECTOR, data))
                for number, data in sorted(recording.base.items())
                if data.strip(b"\0")
            ),
            *(b"".join(map(pack, events)) for events in (recording.during, recording.after)),
        ]
        index[name] = [recording.size, len(body), *map(len, pieces)]
        body += b"".join(pieces)
    header = json.dumps({"schema": 1, "recordings": index}).encode()
    path.write_bytes(lzma.compress(struct.pack("<L", len(header)) + header + body, preset=9))


def load(path: Path) -> dict[str, Recording]:
    data = lzma.decompress(path.read_bytes())
    length = struct.unpack_from("<L", data)[0]
    index = json.loads(data[4 : 4 + length])["recordings"]
    found = {}
    for name, (size, start, *lengths) in index.items():
        position = 4 + length + start
        parts = []
        for part in lengths:
            parts.append(list(unpack(data[position : position + part])))
            position += part
        base: Image = {}
        for event in parts[0]:
            assert isinstance(event, Write)
            apply(base, event)
        found[name] = Recording(size, base, parts[1], parts[2])
    return found
