"""The disk of a node at one instant of its recording: a file that goes forwards and back, and knows what has changed.

Each region, a partition or a volume, has a fingerprint: two instants with the same one have the same content there. And
it is known at any time which blocks of a slot differ from an image that may lie in it.
"""

import bisect
import errno
import mmap
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from qemu_harness.filesystem import copy_into
from qemu_harness.layout import GROUP

BLOCK = 4096
"""What is hashed and compared at once, in bytes. Partitions and volumes begin at multiples of it."""
_STRIDE = 64 << 10
REST = "rest"
"""All that belongs to no region: partition tables, and what LVM keeps for itself."""


class Region(NamedTuple):
    """A part of the disk."""

    name: str
    offset: int
    size: int


class Undo(NamedTuple):
    """What was there before a write."""

    offset: int
    data: bytes


class Replay:
    """A disk, in memory where there is room."""

    def __init__(
        self, base: Path, disk: Path, regions: Iterable[Region], images: Mapping[str, Mapping[str, Path]]
    ) -> None:
        """Begin with a copy of the disk as it was before the recording.

        Args:
            base: the disk before.
            disk: where the copy goes; it is sparse.
            regions: the parts to tell apart.
            images: for regions that hold images, the version and file of each that may lie there.
        """
        self.path = disk
        self.regions = {region.name: region for region in regions}
        with disk.open("wb") as file:
            file.truncate(base.stat().st_size)
        copy_into(base, disk, 0)
        self._file = disk.open("r+b", buffering=0)
        self._map = mmap.mmap(self._file.fileno(), 0)
        self._images: dict[str, dict[str, mmap.mmap]] = {}
        self._differing: dict[tuple[str, str], set[int]] = {}
        self._fingerprints = dict.fromkeys([*self.regions, REST], 0)
        self._owners = sorted(self.regions.values(), key=lambda region: region.offset)
        self._starts = [region.offset for region in self._owners]
        for name, versions in images.items():
            self._images[name] = {version: _mapped(path) for version, path in versions.items()}
            for version, image in self._images[name].items():
                self._differing[name, version] = set(self._differences(name, versions[version], image))

    @classmethod
    def of_slots(
        cls, base: Path, disk: Path, places: Mapping[str, tuple[int, int]], versions: Mapping[str, Mapping[str, Path]]
    ) -> Self:
        """Begin with the disk of a node.

        Args:
            base: the disk before.
            disk: where the copy goes.
            places: offset and size of each partition and volume, in bytes.
            versions: the boot and root image of each version that may lie in a slot.
        """
        # The partition that the volumes lie in is none besides them.
        regions = [Region(name, *place) for name, place in places.items() if name != GROUP]
        images = {
            f"{slot}_{role}": {version: parts[role] for version, parts in versions.items()}
            for slot in "AB"
            for role in ("boot", "root")
        }
        return cls(base, disk, regions, images)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._map.close()
        self._file.close()
        self.path.unlink(missing_ok=True)
        for images in self._images.values():
            for image in images.values():
                image.close()

    def write(self, offset: int, data: bytes) -> Undo:
        """Change the disk; return what brings it back.

        Args:
            offset: in bytes.
            data: what lands there.
        """
        end = offset + len(data)
        undo = Undo(offset, self._map[offset:end])
        if undo.data == data:
            return Undo(offset, b"")
        for begin in range(offset // BLOCK * BLOCK, end, BLOCK):
            stop = begin + BLOCK
            old = self._map[begin:stop]
            if offset <= begin and stop <= end:
                new = data[begin - offset : stop - offset]
            else:
                low, high = max(offset, begin), min(end, stop)
                new = old[: low - begin] + data[low - offset : high - offset] + old[high - begin :]
            if new != old:
                self._map[begin:stop] = new
                self._changed(begin, old, new)
        return undo

    def noticed(self, name: str, before: Mapping[int, bytes]) -> list[Undo]:
        """Take notice of what another process has written to a region of the file.

        Args:
            name: of the region.
            before: a snapshot of it.

        Returns:
            What brings it back.
        """
        offset = self.regions[name].offset
        undos = []
        for far, now in self.snapshot(name).items():
            then = before.get(far) or bytes(len(now))
            if now == then:
                continue
            for near in range(0, len(now), BLOCK):
                old, new = then[near : near + BLOCK], now[near : near + BLOCK]
                if new != old:
                    self._changed(offset + far + near, old, new)
                    undos.append(Undo(offset + far + near, old))
        return undos

    def undo(self, undos: Iterable[Undo]) -> None:
        """Bring the disk back to what it was before some writes, which are given in their order."""
        for undo in reversed(list(undos)):
            self.write(undo.offset, undo.data)

    def snapshot(self, name: str) -> dict[int, bytes]:
        """Read all of a region that is no hole, by its offset in it."""
        offset = self.regions[name].offset
        return {far: self._map[offset + far : offset + far + _STRIDE] for far in self._data(name)}

    def copy(self, name: str, target: Path) -> None:
        """Make a sparse copy of a region."""
        with target.open("wb") as file:
            file.truncate(self.regions[name].size)
            for far, data in self.snapshot(name).items():
                file.seek(far)
                file.write(data)

    def read(self, offset: int, size: int) -> bytes:
        """Read a piece, both in bytes."""
        return self._map[offset : offset + size]

    def fingerprint(self, *names: str) -> tuple[int, ...]:
        """Tell the content of regions, or of all, from any other that they had in this recording."""
        return tuple(self._fingerprints[name] for name in names or self._fingerprints)

    def adopt(self, name: str, version: str, image: Path) -> None:
        """Let the present content of a region count as an image, under a version of its own.

        Args:
            image: where a copy of it is kept.
        """
        self.copy(name, image)
        self._images[name][version] = _mapped(image)
        self._differing[name, version] = set()

    def versions(self, name: str) -> set[str]:
        """Name the versions whose image lies in a region whole, byte for byte."""
        return {version for version in self._images[name] if not self._differing[name, version]}

    def owner(self, offset: int) -> str:
        """Name the region that a byte belongs to."""
        number = bisect.bisect_right(self._starts, offset) - 1
        if number >= 0 and offset < self._owners[number].offset + self._owners[number].size:
            return self._owners[number].name
        return REST

    def _data(self, name: str) -> list[int]:
        """Say where a region has data, in strides from its beginning."""
        region = self.regions[name]
        return _strides(self._file.fileno(), region.offset, region.offset + region.size)

    def _differences(self, name: str, path: Path, image: mmap.mmap) -> Iterator[int]:
        """Say which blocks of a region differ from an image."""
        offset = self.regions[name].offset
        with path.open("rb") as file:
            places = {*self._data(name), *_strides(file.fileno(), 0, len(image))}
        for far in places:
            end = min(far + _STRIDE, len(image))
            for place in range(far, end, BLOCK):
                stop = min(place + BLOCK, end)
                if self._map[offset + place : offset + stop] != image[place:stop]:
                    yield place

    def _changed(self, begin: int, old: bytes, new: bytes) -> None:
        name = self.owner(begin)
        self._fingerprints[name] ^= _hash(begin, old) ^ _hash(begin, new)
        for version, image in self._images.get(name, {}).items():
            place = begin - self.regions[name].offset
            expected = image[place : place + BLOCK]
            differing = self._differing[name, version]
            if not expected or new[: len(expected)] == expected:
                differing.discard(place)
            else:
                differing.add(place)


def _hash(begin: int, block: bytes) -> int:
    """Give a number for a block at its place; that of a region is the sum of those of its blocks, bit by bit."""
    # Python's own hash of bytes: 64 bits of SipHash, keyed anew in each process, and the quickest there is.
    return hash((begin, block))


def _strides(descriptor: int, begin: int, end: int) -> list[int]:
    """Say in which strides of a part of a file there is data; a stride begins at a multiple of its size in the part."""
    found: list[int] = []
    place = begin
    while place < end:
        try:
            data = os.lseek(descriptor, place, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            raise
        if data >= end:
            break
        hole = min(os.lseek(descriptor, data, os.SEEK_HOLE), end)
        first = (data - begin) // _STRIDE * _STRIDE
        found += [far for far in range(first, hole - begin, _STRIDE) if not found or far > found[-1]]
        place = hole
    return found


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def scratch() -> Path | None:
    """Give the directory for disks: memory, where there is room for some, or None for the system's own choice."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        return None
    room = os.statvfs(memory)
    # Its size is a promise, and what others use of the memory is not taken off it.
    [available] = re.findall(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return memory if min(room.f_bavail * room.f_frsize, int(available) << 10) > 8 << 30 else None
