"""The header of a slot: written last, when all else of it is on the disk, and so the sign that it can be booted."""

import mmap

from manageboot import errors
from manageboot.config import Config
from manageboot.disk import devices
from manageboot.disk.blockdev import BlockDevice
from manageboot.disk.buffer import aligned_buffer, all_zeros
from manageboot.protocol import Slot, Verb

HEADER_BYTES = 128 << 10
"""Where ext, fat and xfs have their superblock, and, at 64 KiB, btrfs."""


def require(config: Config, slot: Slot, verb: Verb) -> None:
    """Make sure that a slot has a header, before GRUB is told to boot it.

    The record is not enough: it may be older than the slot, whose disk somebody else can have worked on, as `--disk`
    does. What else the slot holds does not matter here; it may change after an installation.

    Raises:
        NothingInstalledError: the header is zeros, as an installation leaves it that did not come to its end.
        DeviceMissingError, DeviceAmbiguousError, NotPermittedError, DeviceError: it can't be read.
    """
    path = devices.find(config.slots[slot][config.roles.header_last])
    if all_zeros(memoryview(_read(path))):
        raise errors.NothingInstalledError(
            f"cannot {verb} slot {slot}: {path} begins with zeros, so its last installation did not finish",
            hint="run upgrade-install first",
        )


def _read(path: str) -> mmap.mmap:
    with BlockDevice(path, shared=True) as device:
        # Zeros, too, where a device ends before that.
        header = aligned_buffer(HEADER_BYTES)
        device.read_into(0, memoryview(header)[: device.size])
    return header
