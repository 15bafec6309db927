"""The head of a slot: withheld until all else of it is on the disk, and so the sign that there is something to boot."""

import os

from manageboot import errors
from manageboot.config import Config
from manageboot.disk import devices
from manageboot.disk.buffer import all_zeros
from manageboot.protocol import Slot, Verb
from manageboot.system import console

HEAD_BYTES = 128 << 10
"""Where ext, fat and xfs have their superblock, and, at 64 KiB, btrfs."""


def require(config: Config, slot: Slot, verb: Verb) -> None:
    """Make sure that a slot has a head, before GRUB is told to boot it.

    The record is not enough: it may be older than the slot, whose disk somebody else can have worked on, as `--disk`
    does from outside. What else the slot holds does not matter here; it may change after an installation.

    Raises:
        NothingInstalledError: the head is zeros, as an installation leaves it that did not come to its end.
        DeviceMissingError, DeviceAmbiguousError, NotPermittedError, DeviceError: it can't be read.
    """
    path = devices.find(config.slots[slot][config.roles.withheld])
    head = _read(path)
    if console.debug:
        console.debug("read %s at 0, %d bytes: the head of slot %s", path, len(head), slot)
    if all_zeros(memoryview(head)):
        raise errors.NothingInstalledError(
            f"cannot {verb} slot {slot}: {path} begins with zeros, so its last installation did not finish",
            hint="run upgrade-install first",
        )


def _read(path: str) -> bytearray:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(descriptor, 0, HEAD_BYTES, os.POSIX_FADV_DONTNEED)
            return bytearray(os.pread(descriptor, HEAD_BYTES, 0))
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise errors.from_os_error(error, f"open {path}", errors.DeviceMissingError) from error
    except OSError as error:
        raise errors.from_os_error(error, f"read {path}") from error
