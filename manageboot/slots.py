"""The two slots: which one is booted, and which devices they have."""

import re

from manageboot import devices, errors
from manageboot.config import BootConfig, Config, SlotConfig
from manageboot.protocol import Slot, state_of_stopped

SlotDevices = dict[str, str]
"""The device nodes of one slot, by role."""


def booted_slot(boot: BootConfig) -> Slot:
    """Read the booted slot from the kernel command line; of a system that is stopped, from the block.

    Raises:
        BootedSlotUnknownError: the command line can't be read, does not name a slot, or names both.
        BlockDamagedError: the block of a system that is stopped says nothing.
        InputError, DeviceError, NotPermittedError: that block can't be read.
    """
    if boot.cmdline is None:
        from manageboot import environment  # the running system's queries do without

        return state_of_stopped(environment.stated(environment.read(boot.grubenv))).booted
    try:
        with open(boot.cmdline, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError as error:
        raise errors.from_os_error(error, f"read {boot.cmdline}", errors.BootedSlotUnknownError) from error
    values = parse_command_line(text, boot.cmdline_key)
    if len(values) == 1 and (value := values.pop()) in {"A", "B"}:
        return Slot(value)
    found = " and ".join(f"{boot.cmdline_key}={value}" for value in sorted(values)) or f"no {boot.cmdline_key}"
    raise errors.BootedSlotUnknownError(
        f"cannot tell the booted slot: {boot.cmdline} has {found}",
        hint=f"GRUB has to pass {boot.cmdline_key}=A or {boot.cmdline_key}=B; the key is boot.cmdline_key",
    )


def parse_command_line(text: str, key: str) -> set[str]:
    """Collect the values that a kernel command line gives to a key.

    Spaces between quotes do not end a word, and quotes around the value or the whole word are taken off, as the kernel
    does. Words behind `--` are for init.
    """
    values = set()
    for word in re.findall(r'(?:[^\s"]|"[^"]*"?)+', text):
        if word == "--":
            break
        name, equals, value = word.strip('"').partition("=")
        if equals and name == key:
            values.add(value.strip('"'))
    return values


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
