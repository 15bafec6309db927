"""What the kernel tells of block devices in /sys: the one place that knows its paths and its units.

A device is a directory there. It may go at any moment, and takes its attributes along: such a one counts as absent.
"""

import errno
import os

NAMES = "/sys/class/block"
NUMBERS = "/sys/dev/block"

SECTOR_BYTES = 512
"""In sysfs sectors have so many bytes, whatever the device says."""

_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO})


def is_mounted() -> bool:
    """Return whether there is a /sys that knows of block devices."""
    return os.path.isdir(NAMES)


def names() -> list[str]:
    """Return what the kernel calls its block devices, partitions included.

    Raises:
        OSError: /sys is not mounted, or can't be read.
    """
    return sorted(os.listdir(NAMES))


def named(name: str) -> str:
    """Return the directory of a device with this name of the kernel's."""
    return f"{NAMES}/{name}"


def numbered(number: int) -> str:
    """Return the directory of a device with this number, links followed: that of a partition is inside its disk's."""
    return os.path.realpath(f"{NUMBERS}/{os.major(number)}:{os.minor(number)}")


def attribute(directory: str, name: str) -> str | None:
    """Return an attribute, as UTF-8; None: it is not there.

    Raises:
        OSError: it can't be read, which is not to be taken for absent.
    """
    path = f"{directory}/{name}"
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read().removesuffix("\n")
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        # Most attributes that can't be read can be opened, and then the error does not name them.
        error.filename = path
        raise


def integer(directory: str, name: str) -> int:
    """Return an attribute that is a number; one that is not there counts as 0.

    Raises:
        OSError: it can't be read.
    """
    text = attribute(directory, name) or ""
    return int(text) if text.isdecimal() else 0


def number(directory: str) -> int | None:
    """Return the number of a device; None: it is not there.

    Raises:
        OSError: that can't be read.
    """
    major, _, minor = (attribute(directory, "dev") or "").partition(":")
    return os.makedev(int(major), int(minor)) if minor else None


def node(directory: str) -> str:
    """Return the path of a device below /dev."""
    return "/dev/" + os.path.basename(directory).replace("!", "/")


def is_partition(directory: str) -> bool:
    """Return whether a device is a partition; its disk is the directory above."""
    return os.path.exists(f"{directory}/partition")


def partitions(directory: str) -> list[str]:
    """Return the directories of the partitions of a disk.

    Raises:
        OSError: they can't be listed.
    """
    return [place for name in _list(directory) if is_partition(place := f"{directory}/{name}")]


def slaves(directory: str) -> list[str]:
    """Return the directories of the devices that device-mapper, or RAID, builds a device on.

    Raises:
        OSError: they can't be listed.
    """
    return [f"{directory}/slaves/{name}" for name in _list(f"{directory}/slaves")]


def holders(directory: str) -> list[str]:
    """Name the devices that lie on a device, as the kernel calls them.

    Raises:
        OSError: they can't be listed.
    """
    return _list(f"{directory}/holders")


def _list(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError as error:
        if error.errno in _NOT_THERE:
            return []
        raise
