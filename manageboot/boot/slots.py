"""The devices of the two slots."""

from manageboot import errors
from manageboot.config import Config, SlotConfig
from manageboot.disk import devices
from manageboot.protocol import Slot

SlotDevices = dict[str, str]
"""The device nodes of one slot, by role."""


def slot_devices(config: SlotConfig) -> SlotDevices:
    """Find the devices of a slot.

    Raises:
        DeviceMissingError: one is not there.
        DeviceAmbiguousError: an identifier is there more than once.
        DevicesScatteredError: they are not all on one disk, or not all in one volume group.
    """
    return devices.find_together(config)


def writable_devices(config: Config, slot: Slot) -> SlotDevices:
    """Find the devices of a slot that is about to be written.

    Raises:
        DeviceMissingError: one is not there, or is no block device.
        DeviceAmbiguousError: an identifier is there more than once.
        DevicesScatteredError: the devices of a slot are not all on one disk, or not all in one volume group.
        DeviceBusyError: one of them is also a device of the other slot, or stands for two parts of this one.
    """
    mine = slot_devices(config.slots[slot])
    other = slot_devices(config.slots[slot.other])
    taken = {devices.device_number(path): path for path in other.values()}
    for path in mine.values():
        number = devices.device_number(path)
        if number is None:
            raise errors.DeviceMissingError(f"cannot write {path}: it is no block device")
        if number in taken:
            raise errors.DeviceBusyError(f"cannot write {path}: it is the same device as {taken[number]}")
        taken[number] = path
    return mine
