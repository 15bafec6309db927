"""Wipe the beginning of a device."""

from manageboot import errors
from manageboot.disk.blockdev import BlockDevice
from manageboot.disk.buffer import aligned_buffer, all_zeros
from manageboot.disk.digest import WINDOW_BYTES


def wipe(device: BlockDevice, length: int) -> None:
    """Make the first bytes of a device zeros, or all of it if it is smaller.

    Raises:
        ReadBackError: it holds something else afterwards.
        DeviceError: the device failed.

    Durability: once it returns, the zeros are on the disk.
    """
    length = min(length, device.size) // device.block_size * device.block_size
    device.zero(0, length)
    device.flush()
    buffer = memoryview(aligned_buffer(WINDOW_BYTES))
    for offset in range(0, length, WINDOW_BYTES):
        part = buffer[: min(WINDOW_BYTES, length - offset)]
        device.read_into(offset, part)
        if not all_zeros(part):
            raise errors.ReadBackError(f"cannot wipe {device.path} at {offset}: it still holds data")
