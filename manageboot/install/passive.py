"""The devices of the passive slot, as a release reads them: what was left there before, and what this run wrote."""

import threading
from collections.abc import Mapping

from manageboot import errors
from manageboot.disk.buffer import aligned_buffer
from manageboot.disk.digest import WINDOW_BYTES
from manageboot.install.imagewriter import ImageWriter

_TICK_S = 0.1


class PassiveSlot:
    """What the devices hold."""

    def __init__(self, writers: Mapping[str, ImageWriter], header_last: str) -> None:
        """Read where writers write.

        Args:
            writers: by role.
            header_last: the role whose header is zeros until all else is written.
        """
        self._writers = writers
        self._header_last = header_last
        self._buffer = memoryview(aligned_buffer(WINDOW_BYTES))
        self._lock = threading.Lock()
        self._cancelled = False

    def look(self, role: str, offset: int, buffer: memoryview) -> bool:
        """Fill a buffer with what a device holds now; tell whether it stays there, which a header does not."""
        device = self._writers[role].device
        whole = self._buffer[: device.round_up(len(buffer))]
        device.read_into(offset, whole)
        buffer[:] = whole[: len(buffer)]
        return self.stays(role, offset)

    def is_written(self, role: str, end: int, wait_s: float) -> bool:
        """Tell whether this installation is done with all before an offset; wait for so many seconds at most."""
        return self._writers[role].wait_until(end, wait_s)

    def stays(self, role: str, offset: int) -> bool:
        """Tell whether what is written at an offset is there from then on: a header comes last."""
        return offset > 0 or role != self._header_last

    def read(self, role: str, offset: int, target: memoryview, *, written: bool) -> None:
        """Fill a buffer with what a device holds, if need be once what goes there was written."""
        writer = self._writers[role]
        while written and not writer.wait_until(offset + len(target), _TICK_S):
            if self._cancelled:
                raise errors.DeviceError(f"cannot read {writer.device.path} at {offset}: the installation was ended")
        with self._lock:
            whole = self._buffer[: writer.device.round_up(len(target))]
            writer.device.read_into(offset, whole)
            target[:] = whole[: len(target)]
        if writer.header is not None and offset < len(writer.header):
            header = memoryview(writer.header)[offset : offset + len(target)]
            target[: len(header)] = header

    def cancel(self) -> None:
        """Make a read that waits fail."""
        self._cancelled = True
