"""What a file lies on: its file system and its block device."""

from __future__ import annotations

import os

from grubenv.errors import Damage

WRITABLE = frozenset(
    {"ext2", "ext3", "ext4", "vfat", "msdos", "exfat", "xfs", "f2fs", "jfs", "reiserfs", "ntfs3", "hfs", "hfsplus"}
)
"""The kernel's names of the file systems whose files GRUB's save_env can overwrite in place.

Source: GRUB util/grub.d/00_header.in and grub-core/commands/loadenv.c: it needs the block list of a plain file.
"""


def file_system_of(descriptor: int, proc: str = "/proc/self") -> str:
    """Return the kernel's name of the file system that the open file was reached through.

    Raises:
        LookupError: /proc is not there, or does not tell.
        OSError: it can't be read.

    Source: Linux Documentation/filesystems/proc.rst, fdinfo and mountinfo.
    """
    try:
        with open(f"{proc}/fdinfo/{descriptor}", encoding="ascii") as file:
            mount_id = next((line.split()[1] for line in file if line.startswith("mnt_id:")), None)
    except FileNotFoundError:
        message = "/proc is not mounted"
        raise LookupError(message) from None
    with open(f"{proc}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.rstrip("\n").partition(" - ")
            kind, *others = after.split(" ")
            if before.partition(" ")[0] == mount_id and len(others) > 1:  # else the line was cut short
                return kind
    message = f"no mount {mount_id} in {proc}/mountinfo"
    raise LookupError(message)


def file_system_damage(kind: str) -> Damage | None:
    """Return why GRUB cannot write to files of a file system of this kind, or None if it can."""
    if kind in WRITABLE:
        return None
    return Damage("file-system", None, f"on {kind}, to which GRUB cannot write")


def device_damage(device: int, sysfs: str = "/sys") -> Damage | None:
    """Return why GRUB cannot write to the block device with this number, or None if it can.

    Device-mapper says in its UUID who made the device; md has a directory of its own. A partition lies inside the
    directory of its disk.

    Raises:
        LookupError: /sys is not there, or does not know the device.
        OSError: it can't be read.
    """
    directory = _directory(device, sysfs)
    for place in (directory, os.path.dirname(directory)):
        if os.path.isdir(os.path.join(place, "md")):
            return Damage("device", None, f"on {os.path.basename(place)}, a RAID array, to which GRUB cannot write")
        maker = _content(os.path.join(place, "dm", "uuid")).partition("-")[0]
        if maker in {"LVM", "DMRAID"}:
            name = _content(os.path.join(place, "dm", "name"))
            return Damage("device", None, f"on {name}, made by {maker}, to which GRUB cannot write")
    return None


def device_path(device: int, sysfs: str = "/sys") -> str:
    """Return the path of the block device with this number.

    Raises:
        LookupError: there is no such device, as below overlay, tmpfs or a network file system; or /sys is not there.
        OSError: it can't be read.
    """
    for line in _content(os.path.join(_directory(device, sysfs), "uevent")).splitlines():
        key, _, value = line.partition("=")
        if key == "DEVNAME":
            return f"/dev/{value}"
    raise _no_device(device)


def _directory(device: int, sysfs: str) -> str:
    if not os.path.isdir(f"{sysfs}/dev/block"):
        message = "/sys is not mounted"
        raise LookupError(message)
    path = f"{sysfs}/dev/block/{os.major(device)}:{os.minor(device)}"
    if not os.path.exists(path):
        raise _no_device(device)
    return os.path.realpath(path)


def _no_device(device: int) -> LookupError:
    return LookupError(f"no block device {os.major(device)}:{os.minor(device)}")


def _content(path: str) -> str:
    """Return what a file of /sys says; empty where a device has no such file."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
