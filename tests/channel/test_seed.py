"""What a delta reads of the booted slot: in few requests, and of a disk with bad sectors what can be read."""

import ctypes
import os
import random
from collections.abc import Sequence

import pytest

from manageboot import errors
from manageboot.channel.seed import Seed
from manageboot.disk.digest import WINDOW_BYTES
from manageboot.release.deltalayout import Extent
from manageboot.release.description import Image
from manageboot.release.layout import BLOCK_BYTES
from support.deltas import extent_of

CONTENT = {"boot": random.Random(1).randbytes(300_700), "root": random.Random(2).randbytes(3 * WINDOW_BYTES + 5)}
IMAGES = tuple(Image(role, len(content), "") for role, content in CONTENT.items())


class Slot:
    """The booted slot, in memory, with something behind the images; it notes which blocks are asked for."""

    def __init__(self, broken: int | None = None) -> None:
        self.requests: list[tuple[str, int, int]] = []
        self._broken = broken

    def read_into(self, role: str, offset: int, targets: Sequence[memoryview]) -> None:
        assert len(targets) <= os.sysconf("SC_IOV_MAX")
        begin, end = offset // BLOCK_BYTES, -(-(offset + sum(map(len, targets))) // BLOCK_BYTES)
        self.requests.append((role, begin, end))
        if self._broken is not None and begin <= self._broken < end:
            raise errors.DeviceError(f"cannot read block {self._broken}")
        for target in targets:
            target[:] = (CONTENT[role] + b"behind")[offset : offset + len(target)]
            offset += len(target)


def read_by(seed: Seed, extents: Sequence[Extent]) -> list[bytearray]:
    """Read extents at once, each into a buffer of its own that held something else."""
    found = [bytearray(b"\xaa" * extent.blocks * BLOCK_BYTES) for extent in extents]
    seed.read([(extent, memoryview(one)) for extent, one in zip(extents, found, strict=True)])
    return found


def test_what_lies_close_together_is_read_in_one_request():
    slot = Slot()
    last = len(CONTENT["root"]) // BLOCK_BYTES
    extents = [Extent(1, 300, 2), Extent(0, 3, 1), Extent(1, 40, 5), Extent(1, 20, 4), Extent(1, last, 1)]
    read = read_by(Seed(IMAGES, slot), extents)
    assert read == [extent_of(IMAGES, CONTENT, extent) for extent in extents]
    assert slot.requests == [("boot", 3, 4), ("root", 20, 45), ("root", 300, 302), ("root", last, last + 1)]


def test_a_request_has_few_buffers_and_few_gaps():
    slot = Slot()
    read_by(Seed(IMAGES, slot), [Extent(1, first, 1) for first in range(600)])
    assert slot.requests == [("root", 0, 512), ("root", 512, 600)]
    slot.requests.clear()
    # Sixteen gaps of 64 KiB, and no more.
    read_by(Seed(IMAGES, slot), [Extent(1, first, 1) for first in range(0, 20 * 17, 17)])
    assert slot.requests == [("root", 0, 16 * 17 + 1), ("root", 17 * 17, 19 * 17 + 1)]


def test_what_nobody_looks_at_is_memory_of_its_own_in_each_gap():
    addresses: set[int] = set()

    class Watched(Slot):
        def read_into(self, role: str, offset: int, targets: Sequence[memoryview]) -> None:
            addresses.update(ctypes.addressof(ctypes.c_char.from_buffer(target)) for target in targets)
            super().read_into(role, offset, targets)

    read_by(Seed(IMAGES, Watched()), [Extent(1, first, 1) for first in (0, 9, 20)])
    assert len(addresses) == 5


def test_a_sector_that_can_not_be_read_is_nothing_to_who_does_not_need_it():
    slot = Slot(broken=30)
    extents = [Extent(1, 20, 4), Extent(1, 40, 5)]
    seed = Seed(IMAGES, slot)
    for _ in range(2):
        assert read_by(seed, extents) == [extent_of(IMAGES, CONTENT, extent) for extent in extents]
    # It was touched once.
    assert [request for request in slot.requests if request[1] <= 30 < request[2]] == [("root", 20, 45)]
    with pytest.raises(errors.DeviceError):
        read_by(Seed(IMAGES, Slot(broken=41)), extents)
