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

    def read(self, role: str, offset: int, size: int) -> bytes:
        """Return what a device holds now, in bytes; any thread asks, also several at once.

        Raises:
            DeviceError: it can't be read.
        """
        device, parts = self._devices[role], []
        if not hasattr(self._own, "buffer"):
            self._own.buffer = memoryview(aligned_buffer(WINDOW_BYTES))
        for done in range(0, size, WINDOW_BYTES):
            part = min(WINDOW_BYTES, size - done)
            device.read_into(offset + done, self._own.buffer[: device.round_up(part)])
            parts.append(bytes(self._own.buffer[:part]))
        return parts[0] if len(parts) == 1 else b"".join(parts)
