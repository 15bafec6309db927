"""Block devices by the names that a configuration gives them: a path, PARTUUID, PARTLABEL or a logical volume.

udev knows them all; where it does not run, as in a container, sysfs is asked. Where neither can tell, that is an error:
a device that can't be looked for is not one that is not there.
"""

import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from manageboot import errors
from manageboot.disk import sysfs
from manageboot.system import console

_UDEV_DATABASE = "/run/udev/data"

# What a specification is compared with: udev's property, and the kernel's own in the uevent file.
_PROPERTIES = {"PARTUUID": ("ID_PART_ENTRY_UUID", "PARTUUID"), "PARTLABEL": ("ID_PART_ENTRY_NAME", "PARTNAME")}

# device-mapper's name and UUID; LVM's UUIDs are this prefix, 32 characters of the group and 32 of the volume.
_MAPPED_PROPERTIES = ("DM_NAME", "DM_UUID")
_KEYS = (*_PROPERTIES["PARTUUID"], *_PROPERTIES["PARTLABEL"], *_MAPPED_PROPERTIES)
_LVM_PREFIX = "LVM-"
_GROUP_UUID = slice(len(_LVM_PREFIX), len(_LVM_PREFIX) + 32)
_FAILED_STATES = frozenset({"offline", "transport-offline", "cancel", "del", "dead", "deleting", "deleting (no IO)"})


# What tells of a partition beyond its names. Without udev, nothing does.
_FURTHER_KEYS = ("ID_PART_ENTRY_TYPE", "ID_PART_ENTRY_SCHEME", "ID_FS_LABEL")


class _BlockDevice(NamedTuple):
    name: str
    """As the kernel calls it."""
    properties: dict[str, str]


class Listed(NamedTuple):
    """A partition or a logical volume; what is not known of it is empty."""

    name: str
    """As the kernel calls it."""
    number: int
    """Of the device."""
    place: str
    """The disk of a partition, or the group of a logical volume."""
    label: str
    uuid: str
    volume: str
    """GROUP/NAME of a logical volume."""
    partition: int
    """The number of a partition on its disk, 0 for a volume."""
    kind: str
    """The GUID of the type of a partition, in lower case."""
    scheme: str
    """What the partition table is: gpt or dos."""
    file_system: str
    """The label of the file system."""


def find(spec: str) -> str:
    """Find the device node of a specification.

    Args:
        spec: an absolute path, PARTUUID=..., PARTLABEL=... or LV=group/name.

    Returns:
        A path below /dev. A path is returned as it is, whether or not it exists.

    Raises:
        DeviceMissingError: there is no such device.
        DeviceAmbiguousError: several bear the identifier, and not exactly one of them is on the booted disk.
        DevicesUnknownError: that can't be told.
    """
    return spec if spec.startswith("/") else _path(spec, _find(spec))


def find_together(specs: Mapping[str, str]) -> dict[str, str]:
    """Find the device nodes of specifications that belong together, by their keys.

    Each identifier says where one device is, and none that it is on the same disk as the others: a disk that bears a
    few of them beside the node's own would otherwise lend it a part. Paths are taken as they are.

    Raises:
        DeviceMissingError, DeviceAmbiguousError, DevicesUnknownError: as for `find`.
        DevicesScatteredError: partitions are on several disks, or logical volumes in several groups.
    """
    found = {}
    places: dict[bool, tuple[str, str]] = {}
    for key, spec in specs.items():
        if spec.startswith("/"):
            found[key] = spec
            continue
        name = _find(spec)
        found[key] = _path(spec, name)
        place = _place(spec, name)
        first, expected = places.setdefault(_is_volume(spec), (spec, place))
        if place != expected:
            raise errors.DevicesScatteredError(
                f"cannot use {first} and {spec} together: they are on {expected} and on {place}",
                hint="detach the copy of this node's disk, or name the devices by path",
            )
    if console.debug:
        console.debug("devices: %s", ", ".join(f"{role} is {path}" for role, path in found.items()))
    return found


def listed() -> list[Listed]:
    """List the partitions and logical volumes that there are. Needs no rights.

    Raises:
        DevicesUnknownError: that can't be told.
    """
    _require_sysfs("list the block devices")
    found = []
    for device in _all((*_KEYS, *_FURTHER_KEYS)):
        directory = sysfs.named(device.name)
        number = _number(directory)
        partition = _read(directory, "partition")
        volume = _volume(device)
        if number is None or not (partition or volume):
            continue
        values = {key: _decode(value) for key, value in device.properties.items()}
        uuid, label = (next((values[key] for key in keys if key in values), "") for keys in _PROPERTIES.values())
        found.append(
            Listed(
                device.name,
                number,
                volume.partition("/")[0] or " and ".join(sorted(_disks(number))),
                label,
                uuid.lower(),
                volume,
                int(partition or 0),
                values.get("ID_PART_ENTRY_TYPE", "").lower(),
                values.get("ID_PART_ENTRY_SCHEME", ""),
                values.get("ID_FS_LABEL", ""),
            )
        )
    return found


def writable_devices(mine: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """Find the device nodes of a slot that is about to be written, by role.

    Args:
        mine: the specifications of this slot, by role.
        others: those of the other slot.

    Raises:
        DeviceMissingError: one is not there, or is no block device.
        DeviceAmbiguousError, DevicesScatteredError, DevicesUnknownError: as for `find_together`.
        DeviceBusyError: one is also a device of the other slot, or is two parts of this one.
    """
    found = find_together(mine)
    taken = {device_number(path): path for path in find_together(others).values()}
    for path in found.values():
        number = device_number(path)
        if number is None:
            raise errors.DeviceMissingError(f"cannot write {path}: it is not a block device")
        if number in taken:
            raise errors.DeviceBusyError(f"cannot write {path}: it is the same device as {taken[number]}")
        taken[number] = path
    return found


def _is_volume(spec: str) -> bool:
    return spec.startswith("LV=")


def _place(spec: str, name: str) -> str:
    """Name what holds a device and its fellows: the disk of a partition, or the group of a logical volume."""
    if _is_volume(spec):
        return f"volume group {_read(sysfs.named(name), 'dm/uuid')[_GROUP_UUID]}"
    return f"disk {' and '.join(sorted(_disks_of(name)))}"


def _path(spec: str, name: str) -> str:
    value = spec.removeprefix("LV=")
    return f"/dev/{value}" if _is_volume(spec) and os.path.exists(f"/dev/{value}") else f"/dev/{name}"


def _find(spec: str) -> str:
    """Find the one device that bears an identifier; return what the kernel calls it."""
    kind, _, value = spec.partition("=")
    _require_sysfs(f"find {spec}")
    names = _logical_volumes(value) if kind == "LV" else _partitions(kind, value)
    if (count := len(names)) > 1:
        booted = _disks(os.stat("/").st_dev)
        names = [name for name in names if booted & _disks_of(name)] if booted else names
        if len(names) != 1:
            raise errors.DeviceAmbiguousError(
                f"cannot find {spec}: several devices have it, and the booted disk does not have exactly one of them",
                hint="detach the copy of this node's disk, or name the devices by path",
            )
    if not names:
        raise errors.DeviceMissingError(f"cannot find {spec}: no block device has it")
    if console.debug:
        because = "no other bears it" if count == 1 else f"of the {count} that bear it, it is on the booted disk"
        console.debug("device: %s is %s: %s", spec, names[0], because)
    return names[0]


def _require_sysfs(doing: str) -> None:
    if not sysfs.is_mounted():
        raise errors.DevicesUnknownError(f"cannot {doing}: /sys is not mounted", hint="mount -t sysfs sysfs /sys")


def device_number(path: str) -> int | None:
    """Return the device number of a block device node; None: the path is none, or its device is gone.

    Raises:
        DeviceError, NotPermittedError: it can't be looked at.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise errors.from_os_error(error, f"look at {path}") from error
    if not stat.S_ISBLK(status.st_mode):
        return None
    # The node may stay when the device goes; without /sys there is nothing but the node to go by.
    gone = sysfs.is_mounted() and not os.path.exists(sysfs.numbered(status.st_rdev))
    return None if gone else status.st_rdev


def size(path: str) -> int | None:
    """Return the size in bytes of a block device node, or None if the path is not one. Needs no rights.

    Raises:
        DevicesUnknownError, DeviceError, NotPermittedError: that can't be told.
    """
    number = device_number(path)
    if number is None:
        return None
    _require_sysfs(f"tell the size of {path}")
    # A device may go between two looks.
    sectors = _read(sysfs.numbered(number), "size")
    return int(sectors) * sysfs.SECTOR_BYTES if sectors else None


def failure(path: str) -> str | None:
    """Say what the kernel thinks is wrong with a block device that is there; None: nothing.

    Raises:
        DevicesUnknownError, DeviceError, NotPermittedError: that can't be told.

    Source: the states of a device in the kernel's drivers/scsi/scsi_sysfs.c and drivers/nvme/host/sysfs.c.
    """
    number, size_bytes = device_number(path), size(path)
    if number is None or size_bytes is None:
        return "it is not there"
    if size_bytes == 0:
        return "it has no medium"
    for disk in sorted(_disks(number)):
        state = _read(sysfs.named(disk), "device/state")
        if state in _FAILED_STATES:
            return f"{disk} is {state}"
    return None


def layers(device: int) -> set[int]:
    """Collect the numbers of a block device and of all that device-mapper builds it on, as dm-verity on a partition.

    Raises:
        DevicesUnknownError: that can't be told.
    """
    _require_sysfs("tell what a device lies on")
    below = (_number(slave) for slave in sysfs.slaves(sysfs.numbered(device)))
    return {device}.union(*(layers(number) for number in below if number is not None))


def _partitions(kind: str, value: str) -> list[str]:
    keys = _PROPERTIES[kind]
    # A UUID is the same in either case; a label is not.
    fold = str.lower if kind == "PARTUUID" else str
    found, silent = [], []
    for device in _all():
        bears = {fold(_decode(device.properties[key])) for key in keys if key in device.properties}
        if fold(value) in bears:
            found.append(device.name)
        if device.properties.get("DEVTYPE") == "partition":
            silent.append(not bears)
    # A partition may have no label, but not no UUID.
    if kind == "PARTUUID" and silent and all(silent):
        raise errors.DevicesUnknownError(
            f"cannot find {kind}={value}: udev does not run, and this kernel shows no PARTUUIDs",
            hint="run it where udev runs, or name the devices by path",
        )
    return found


def _logical_volumes(value: str) -> list[str]:
    group, _, volume = value.partition("/")
    # device-mapper joins the two with a hyphen and doubles those inside.
    mapped = f"{group.replace('-', '--')}-{volume.replace('-', '--')}"
    return [
        device.name
        for device in _all()
        if _decode(device.properties.get("DM_NAME", "")) == mapped
        and device.properties.get("DM_UUID", "").startswith(_LVM_PREFIX)
    ]


def _volume(device: _BlockDevice) -> str:
    """Return GROUP/NAME of a logical volume; empty: it is none."""
    if not device.properties.get("DM_UUID", "").startswith(_LVM_PREFIX):
        return ""
    group, _, name = re.sub("(?<!-)-(?!-)", "/", _decode(device.properties.get("DM_NAME", ""))).partition("/")
    return f"{group}/{name}".replace("--", "-") if name and "/" not in name else ""


def _all(keys: Sequence[str] = _KEYS) -> Iterator[_BlockDevice]:
    if os.path.isdir(_UDEV_DATABASE):
        # Imported here: it costs a query 20 ms, and most configurations name paths.
        import pyudev

        for device in pyudev.Context().list_devices(subsystem="block"):
            yield _BlockDevice(device.sys_name, {key: value for key in keys if (value := _property(device, key))})
        return
    for name in sysfs.names():
        lines = _read(sysfs.named(name), "uevent").split("\n")
        mapped = {key: _read(sysfs.named(name), f"dm/{key[3:].lower()}") for key in _MAPPED_PROPERTIES}
        yield _BlockDevice(name, mapped | dict(line.split("=", 1) for line in lines if "=" in line))


def _property(device: Any, key: str) -> str:
    """Return a property as UTF-8; the library decodes by the locale. One that the device does not have is empty.

    No other one is asked for: whatever it holds, it says nothing of the device that is looked for.
    """
    try:
        content = device.properties.get(key, "").encode(sys.getfilesystemencoding(), "surrogateescape")
    except UnicodeDecodeError as error:
        content = error.object
    return str(content, "utf-8", "surrogateescape")


def _decode(value: str) -> str:
    """Undo udev's \\xNN for bytes that it finds unsafe in a property."""
    content = value.encode("utf-8", "surrogateescape")
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda escape: bytes([int(escape[1], 16)]), content)
    return raw.decode("utf-8", "surrogateescape")


def _disks_of(name: str) -> set[str]:
    """Name the whole disks that a device lies on, by its name; none: it went a moment ago."""
    number = _number(sysfs.named(name))
    return set() if number is None else _disks(number)


def _disks(device: int) -> set[str]:
    """Name the whole disks that a block device lies on; device-mapper may put it on several."""
    directory = sysfs.numbered(device)
    if not os.path.isdir(directory):
        return set()
    if slaves := sysfs.slaves(directory):
        return set().union(*(_disks_of(os.path.basename(slave)) for slave in slaves))
    return {os.path.basename(os.path.dirname(directory) if sysfs.is_partition(directory) else directory)}


def _read(directory: str, name: str) -> str:
    """Return an attribute of a device; empty: it is not there.

    Raises:
        DevicesUnknownError: it can't be read.
    """
    with _translated():
        return sysfs.attribute(directory, name) or ""


def _number(directory: str) -> int | None:
    """Return the number of a device; None: it went a moment ago. Raises what `_read` does."""
    with _translated():
        return sysfs.number(directory)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        doing = f"read {error.filename}"
        if errors.is_exhausted(error):
            raise errors.from_os_error(error, doing) from error
        # Whatever the cause: that /sys fails says nothing of the device, which the daemon would otherwise call lost.
        raise errors.DevicesUnknownError(f"cannot {doing}: {error.strerror or error}") from error
