"""What a disk consists of: its partitions, and what lies below it, such as the image of a loop device.

Of what lies below, only a part may be concerned: a partition is a range of its disk, a loop device one of its file.
"""

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from manageboot.disk import sysfs
from manageboot.errors import is_exhausted

# Source: linux/loop.h.
_LOOP_GET_STATUS64 = 0x4C05
_STATUS = struct.Struct("=QQQQQ 192x")
"""Device and inode of the file, number of the device if it is one, offset and size limit; the rest is not needed."""

Identity = tuple[int, int]
"""A file's device and inode, or a block device's number and 0."""


_GONE = frozenset({errno.ENOTCONN, errno.ECONNABORTED, errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EHOSTDOWN})
"""What a file says whose file system has gone, as one of FUSE does when its program was killed."""
_ELSEWHERE: Identity = (-1, 0)
"""A file that can't be asked, so none of those that were asked a moment before."""


class Span(NamedTuple):
    """A range of bytes; an end of None is the end of the device or file."""

    start: int = 0
    end: int | None = None

    def overlaps(self, other: "Span") -> bool:
        """Return whether the two have a byte in common."""
        return (self.end is None or other.start < self.end) and (other.end is None or self.start < other.end)

    def within(self, outer: "Span") -> "Span":
        """Return where this range of a device lies in what is below it, of which the device is the range `outer`."""
        end = outer.end if self.end is None else outer.start + self.end
        return Span(outer.start + self.start, end)


WHOLE = Span()


class Layer(NamedTuple):
    """A disk, or what lies below it."""

    path: str
    identities: frozenset[Identity]
    """What it is, and what those of its partitions are that are concerned."""
    exclusive: bool
    """Whether it is all ours: the volume of a volume group shares what is below it with others."""
    span: Span = WHOLE
    """Which part of it is concerned."""


class Attachment(NamedTuple):
    """A loop device, and what it is attached to."""

    name: str
    target: Identity | None
    """None: that can't be told."""
    span: Span
    """Which part of it."""


def identity(status: os.stat_result) -> Identity:
    """Tell what a file or a block device is, whatever it is called."""
    if stat.S_ISBLK(status.st_mode):
        return status.st_rdev, 0
    return status.st_dev, status.st_ino


def layers(path: str, status: os.stat_result, span: Span = WHOLE) -> Iterator[Layer]:
    """Give a disk or an image, and all that lies below it.

    Raises:
        OSError: something of it is not to be found by name, as when it belongs to another mount namespace; or there is
            nothing to ask with.
    """
    own = identity(status)
    if not stat.S_ISBLK(status.st_mode):
        yield Layer(path, frozenset({own}), exclusive=True, span=span)
        return
    concerned = ((number, 0) for number, _, place in _partitions(status.st_rdev) if place.overlaps(span))
    yield Layer(path, frozenset({own, *concerned}), exclusive=True, span=span)
    directory = sysfs.numbered(status.st_rdev)
    file = _backing_file(directory)
    if file is not None:
        below = os.stat(file)
        if identity(below) != _attachment(os.path.basename(directory)).target:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), file)
        yield from layers(file, below, span.within(_loop_span(directory)))
    shared = [(os.path.realpath(slave), WHOLE) for slave in sysfs.slaves(directory)]
    if sysfs.is_partition(directory):
        shared.append((os.path.dirname(directory), span.within(_partition_span(directory))))
    for one, part in shared:
        node = sysfs.node(one)
        status_below = os.stat(node)
        for layer in layers(node, status_below, part):
            # Where a volume lies on it nobody here knows; the partitions beside it are others'.
            anywhere = layer.path == node and part == WHOLE
            identities = frozenset({identity(status_below)}) if anywhere else layer.identities
            yield layer._replace(identities=identities, exclusive=False)


def partitions(number: int) -> Iterator[tuple[int, str]]:
    """Give the number and the path of each partition that the kernel knows of a block device."""
    return ((partition, node) for partition, node, _ in _partitions(number))


def attachments() -> Iterator[Attachment]:
    """Give each loop device that is attached.

    Raises:
        OSError: there is no sysfs to ask, or nothing to ask it with.
    """
    for name in sysfs.names():
        directory = sysfs.named(name)
        if name.startswith("loop") and (file := _backing_file(directory)) is not None:
            found = _attachment(name)
            if found.target is None:
                with suppress(OSError):
                    found = Attachment(name, identity(os.stat(file)), _loop_span(directory))
            if found.target is not None or os.path.exists(f"{directory}/loop"):
                yield found


def holders(number: int) -> list[str]:
    """Name the devices that lie on a block device, as the kernel calls them."""
    try:
        return sysfs.holders(sysfs.numbered(number))
    except OSError:
        return []


def disk_of(number: int) -> int | None:
    """Return the number of the disk that a partition is of; None: it is no partition."""
    directory = sysfs.numbered(number)
    return sysfs.number(os.path.dirname(directory)) if sysfs.is_partition(directory) else None


def kernel_name(status: os.stat_result) -> str:
    """Return what the kernel calls a block device."""
    return os.path.basename(sysfs.numbered(status.st_rdev))


def _attachment(name: str) -> Attachment:
    """Ask the loop device itself: its path of the file may mean nothing in this mount namespace, or another file."""
    unknown = Attachment(name, None, WHOLE)
    try:
        descriptor = os.open(f"/dev/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_rdev != sysfs.number(sysfs.named(name)):
                return unknown
            answer = bytearray(_STATUS.size)
            fcntl.ioctl(descriptor, _LOOP_GET_STATUS64, answer)
        finally:
            os.close(descriptor)
    except OSError as error:
        if is_exhausted(error):
            raise
        return unknown._replace(target=_ELSEWHERE) if error.errno in _GONE else unknown
    device, inode, number, offset, limit = _STATUS.unpack(answer)
    return Attachment(name, (number, 0) if number else (device, inode), _span(offset, limit))


def _backing_file(directory: str) -> str | None:
    """Return the path of the file that a loop device is attached to; None: it is no loop device, or attached to none.

    Raises:
        OSError: that can't be told.
    """
    path = sysfs.attribute(directory, "loop/backing_file")
    return None if path is None else os.fsdecode(path.encode("utf-8", "surrogateescape"))


def _loop_span(directory: str) -> Span:
    """Read which part of its file a loop device is."""
    return _span(sysfs.integer(directory, "loop/offset"), sysfs.integer(directory, "loop/sizelimit"))


def _partition_span(directory: str) -> Span:
    """Read which part of its disk a partition is."""
    start, size = sysfs.integer(directory, "start"), sysfs.integer(directory, "size")
    return _span(start * sysfs.SECTOR_BYTES, size * sysfs.SECTOR_BYTES)


def _span(start: int, size: int) -> Span:
    return Span(start, start + size if size else None)


def _partitions(number: int) -> Iterator[tuple[int, str, Span]]:
    for directory in sysfs.partitions(sysfs.numbered(number)):
        partition = sysfs.number(directory)
        if partition is not None:
            yield partition, sysfs.node(directory), _partition_span(directory)
