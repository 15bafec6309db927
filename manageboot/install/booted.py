"""The devices of the booted slot, as the seed of a delta: opened for reading, never for writing."""

import threading
from collections.abc import Mapping

from manageboot.disk.blockdev import BlockDevice
from manageboot.disk.buffer import aligned_buffer
from manageboot.disk.digest import WINDOW_BYTES


class BootedSlot:
    """What the devices hold; file systems may be mounted there, and change it."""

    def __init__(self, devices: Mapping[str, BlockDevice]) -> None:
        """Read devices, by role, that were opened to be shared."""
        self._devices = devices
        self._own = threading.local()

    def read_into(self, role: str, offset: int, target: memoryview) -> None:
        """Fill a buffer with what a device holds now, at an offset in bytes; any thread asks, also several at once.

        Raises:
            DeviceError: it can't be read.
        """
        device = self._devices[role]
        if not hasattr(self._own, "buffer"):
            self._own.buffer = memoryview(aligned_buffer(WINDOW_BYTES))
        for done in range(0, len(target), WINDOW_BYTES):
            part = target[done : done + WINDOW_BYTES]
            whole = self._own.buffer[: device.round_up(len(part))]
            device.read_into(offset + done, whole)
            part[:] = whole[: len(part)]
