"""Reading the booted slot: what lies together comes in one request, whatever the device's blocks are."""

import os
import random
from pathlib import Path

import pytest

from manageboot import errors
from manageboot.disk.blockdev import BlockDevice
from manageboot.disk.buffer import aligned_buffer
from manageboot.install.booted import BootedSlot
from support.images import MIB
from support.loop import loop_device

BLOCK = 4096
CONTENT = random.Random(7).randbytes(2 * MIB)


@pytest.mark.devices
@pytest.mark.parametrize("sector_size", [512, 4096])
def test_blocks_and_the_tail_of_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sector_size: int):
    requests: list[tuple[int, int]] = []
    preadv = os.preadv

    def counted(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        requests.append((offset, sum(map(len, buffers))))
        return preadv(descriptor, buffers, offset)

    (tmp_path / "disk").write_bytes(CONTENT)
    room = memoryview(aligned_buffer(2 * MIB))
    with (
        loop_device(tmp_path / "disk", sector_size=sector_size, cached=False) as path,
        BlockDevice(path, shared=True) as device,
    ):
        assert device.block_size == sector_size
        monkeypatch.setattr(os, "preadv", counted)
        slot = BootedSlot({"root": device})
        # Gaps between blocks, and at last a part of a block that ends in the middle of a sector.
        targets = [room[number * BLOCK : (number + 1) * BLOCK] for number in range(200)] + [room[200 * BLOCK :][:700]]
        slot.read_into("root", 5 * BLOCK, targets)
        assert room[: 200 * BLOCK + 700] == CONTENT[5 * BLOCK : 205 * BLOCK + 700]
        assert room[200 * BLOCK + 700 :][:BLOCK] == bytes(BLOCK)
        assert requests == [(5 * BLOCK, 200 * BLOCK), (205 * BLOCK, -(-700 // sector_size) * sector_size)]
        # A buffer that no device takes.
        odd = memoryview(bytearray(2 * BLOCK + 1))[1:]
        slot.read_into("root", BLOCK, [odd[:BLOCK], odd[BLOCK:]])
        assert odd == CONTENT[BLOCK : 3 * BLOCK]
        with pytest.raises(errors.DeviceError, match=r"at 2093056: got 4096"):
            slot.read_into("root", 2 * MIB - BLOCK, [room[:BLOCK], room[BLOCK : 2 * BLOCK]])
