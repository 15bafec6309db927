"""The two slots: which one is booted, and which devices they have."""

from grubenv import kernelcmdline
from manageboot import errors
from manageboot.config import BootConfig, Config, SlotConfig
from manageboot.disk import devices
from manageboot.protocol import Slot, state_of_stopped
from manageboot.system import console

SlotDevices = dict[str, str]
"""The device nodes of one slot, by role."""


def booted_slot(boot: BootConfig) -> Slot:
    """Read the booted slot from the kernel command line; of a system that is stopped, from the block.

    Raises:
        BootedSlotUnknownError: the command line can't be read, does not name a slot, or names both.
        BlockDamagedError, BlockMissingError: the block of a system that is stopped says nothing.
        InputError, DeviceError, NotPermittedError: that block can't be read.
    """
    if boot.cmdline is None:
        from manageboot.boot import envblock  # the running system's queries do without

        booted = state_of_stopped(envblock.stated(envblock.read(boot.grubenv))).booted
        if console.debug:
            console.debug("booted: slot %s counts as booted, by the block of a system that is stopped", booted)
        return booted
    try:
        values = kernelcmdline.values(kernelcmdline.read_line(boot.cmdline), boot.cmdline_key)
    except OSError as error:
        raise errors.from_os_error(error, f"read {boot.cmdline}", errors.BootedSlotUnknownError) from error
    if console.debug:
        found = " and ".join(values) or "nothing"
        console.debug("booted: %s says %s=%s", boot.cmdline, boot.cmdline_key, found)
    if len(values) == 1 and values[0] in {"A", "B"}:
        return Slot(values[0])
    found = " and ".join(f"{boot.cmdline_key}={value}" for value in values) or f"no {boot.cmdline_key}"
    raise errors.BootedSlotUnknownError(
        f"cannot tell the booted slot: {boot.cmdline} has {found}",
        hint=f"GRUB has to pass {boot.cmdline_key}=A or {boot.cmdline_key}=B; the key is boot.cmdline_key",
    )


def slot_devices(config: SlotConfig) -> SlotDevices:
    """Find the devices of a slot.

    Raises:
        DeviceMissingError: one is not there.
        DeviceAmbiguousError: an identifier is there more than once.
        DevicesScatteredError: they are not all on one disk, or not all in one volume group.
    """
    found = devices.find_together(config)
    if console.debug:
        console.debug("devices: %s", ", ".join(f"{role} is {path}" for role, path in found.items()))
    return found


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
