"""What a disk consists of: its partitions, and what lies below it, such as the image of a loop device."""

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

_BLOCK = "/sys/class/block"
_NUMBERS = "/sys/dev/block"

# Source: linux/loop.h.
_LOOP_GET_STATUS64 = 0x4C05
_STATUS = struct.Struct("=QQQ 208x")
"""Device and inode of the file, number of the device if it is one; the rest is not needed."""

Identity = tuple[int, int]
"""A file's device and inode, or a block device's number and 0."""


class Layer(NamedTuple):
    """A disk, or what lies below it."""

    path: str
    identities: frozenset[Identity]
    """What it is, and what its partitions are."""
    exclusive: bool
    """Whether it is all ours: the volume of a volume group shares what is below it with others."""


def identity(status: os.stat_result) -> Identity:
    """Tell what a file or a block device is, whatever it is called."""
    if stat.S_ISBLK(status.st_mode):
        return status.st_rdev, 0
    return status.st_dev, status.st_ino


def layers(path: str, status: os.stat_result) -> Iterator[Layer]:
    """Give a disk or an image, and all that lies below it.

    Raises:
        FileNotFoundError: something of it is not to be found by name, as when it belongs to another mount namespace.
    """
    own = identity(status)
    if not stat.S_ISBLK(status.st_mode):
        yield Layer(path, frozenset({own}), exclusive=True)
        return
    yield Layer(path, frozenset({own, *((number, 0) for number, _ in partitions(status.st_rdev))}), exclusive=True)
    directory = _directory(status.st_rdev)
    file = _read(f"{directory}/loop/backing_file")
    if file is not None:
        below = os.stat(file)
        if identity(below) != _attached_to(os.path.basename(directory)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), file)
        yield from layers(file, below)
    shared = [_directory(number) for number in _slaves(directory)]
    if os.path.exists(f"{directory}/partition"):
        shared.append(os.path.dirname(directory))
    for one in shared:
        node = _node(one)
        for layer in layers(node, os.stat(node)):
            # Only the part below is of concern; its partitions are others'.
            yield layer._replace(identities=frozenset({identity(os.stat(layer.path))}), exclusive=False)


def partitions(number: int) -> Iterator[tuple[int, str]]:
    """Give the number and the path of each partition that the kernel knows of a block device."""
    directory = _directory(number)
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(directory)):
            if os.path.exists(f"{directory}/{name}/partition"):
                yield _number(f"{directory}/{name}"), _node(f"{directory}/{name}")


def attachments() -> Iterator[tuple[str, Identity | None]]:
    """Give the name of each loop device that is attached, and what to; None where that can't be told."""
    for name in sorted(os.listdir(_BLOCK)):
        if name.startswith("loop") and (file := _read(f"{_BLOCK}/{name}/loop/backing_file")) is not None:
            found = _attached_to(name)
            if found is None:
                with suppress(OSError):
                    found = identity(os.stat(file))
            if found is not None or os.path.exists(f"{_BLOCK}/{name}/loop"):
                yield name, found


def kernel_name(status: os.stat_result) -> str:
    """Return what the kernel calls a block device."""
    return os.path.basename(_directory(status.st_rdev))


def _attached_to(name: str) -> Identity | None:
    """Ask the loop device itself: its path of the file may mean nothing in this mount namespace, or another file."""
    try:
        descriptor = os.open(f"/dev/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_rdev != _number(f"{_BLOCK}/{name}"):
                return None
            answer = bytearray(_STATUS.size)
            fcntl.ioctl(descriptor, _LOOP_GET_STATUS64, answer)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    device, inode, number = _STATUS.unpack(answer)
    return (number, 0) if number else (device, inode)


def _directory(number: int) -> str:
    return os.path.realpath(f"{_NUMBERS}/{os.major(number)}:{os.minor(number)}")


def _number(directory: str) -> int:
    with open(f"{directory}/dev", encoding="ascii") as file:
        major, minor = file.read().split(":")
    return os.makedev(int(major), int(minor))


def _slaves(directory: str) -> list[int]:
    try:
        return [_number(f"{directory}/slaves/{name}") for name in sorted(os.listdir(f"{directory}/slaves"))]
    except FileNotFoundError:
        return []


def _node(directory: str) -> str:
    return "/dev/" + os.path.basename(directory).replace("!", "/")


def _read(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read().removesuffix(b"\n"))
    except OSError:
        return None
