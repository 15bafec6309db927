"""The devices of the booted slot, as the seed of a delta: opened for reading, never for writing."""

import threading
from collections.abc import Mapping, Sequence
from itertools import takewhile

from manageboot.disk.blockdev import BlockDevice
from manageboot.disk.buffer import aligned_buffer, is_aligned
from manageboot.disk.digest import WINDOW_BYTES


class BootedSlot:
    """What the devices hold; file systems may be mounted there, and change it."""

    def __init__(self, devices: Mapping[str, BlockDevice]) -> None:
        """Read devices, by role, that were opened to be shared."""
        self._devices = devices
        self._own = threading.local()

    def read_into(self, role: str, offset: int, targets: Sequence[memoryview]) -> None:
        """Fill buffers with what a device holds now from an offset in bytes on, one after the other; for any thread.

        Raises:
            DeviceError: it can't be read.
        """
        device = self._devices[role]

        def takes(target: memoryview) -> bool:
            return is_aligned(target) and len(target) % device.block_size == 0

        # Most of what is asked for is whole blocks; the last one of an image may be none.
        direct = list(takewhile(takes, targets))
        if direct:
            device.read_into(offset, *direct)
        offset += sum(map(len, direct))
        for target in targets[len(direct) :]:
            self._read_aside(device, offset, target)
            offset += len(target)

    def _read_aside(self, device: BlockDevice, offset: int, target: memoryview) -> None:
        if not hasattr(self._own, "buffer"):
            self._own.buffer = memoryview(aligned_buffer(WINDOW_BYTES))
        for done in range(0, len(target), WINDOW_BYTES):
            part = target[done : done + WINDOW_BYTES]
            whole = self._own.buffer[: device.round_up(len(part))]
            device.read_into(offset + done, whole)
            part[:] = whole[: len(part)]
