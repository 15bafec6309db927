"""What would keep the environment block from being written, asked of the kernel; nothing is written.

A commit is one write of one sector. Where that can't be done, it is better known before an installation voids a slot.
"""

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from grubenv import Inside
from grubenv.writing.lock import RUN_DIRECTORY
from manageboot import errors
from manageboot.disk import mounts, sysfs

# Source: linux/fs.h.
_FS_IOC_GETFLAGS = 0x80086601
_KEPT_AS_THEY_ARE = {0x10: ("immutable", "i"), 0x20: ("append-only", "a")}
"""Attributes of files that keep even root from writing, and what chattr calls them."""

_BLOCK_BYTES = 1024


class Obstacle(NamedTuple):
    """What stands in the way."""

    kind: type[errors.ManagebootError]
    """The error that a write would end in."""
    cause: str
    """The end of a sentence."""
    hint: str | None
    denied: bool = False
    """Whether it is only that the caller is not root."""


def obstacle(path: str | Inside) -> Obstacle | None:
    """Return what would keep a block from being written, or made where there is none yet; None: nothing is known."""
    return next(_inside(path) if isinstance(path, Inside) else _obstacles(os.path.realpath(path)), None)


def _obstacles(path: str) -> Iterator[Obstacle]:
    directory = os.path.dirname(path)
    exists = False
    try:
        exists = os.stat(path).st_size > 0
        if exists:
            # In place, as the write would; a file that is open for writing is not changed by that.
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
    except FileNotFoundError:
        pass
    except OSError as error:
        yield _refused(error, path)
    if not exists:
        yield from _no_new_file(directory)
    with suppress(OSError):
        yield from _read_only_device(os.stat(directory).st_dev)
    yield from _no_lock()


def _no_new_file(directory: str) -> Iterator[Obstacle]:
    """Ask for what a new block needs: it is made under another name first."""
    try:
        room = os.statvfs(directory)
        writable = os.access(directory, os.W_OK | os.X_OK, effective_ids=True)
    except OSError as error:
        yield _refused(error, directory)
        return
    if not writable:
        why = errno.EROFS if room.f_flag & os.ST_RDONLY else errno.EACCES if os.geteuid() else errno.EPERM
        yield _refused(OSError(why, os.strerror(why)), directory)
    elif (kept := _kept_as_it_is(directory)) is not None:
        # In one that is append-only a file can be made, and not be renamed.
        yield kept
    free = room.f_bfree if os.geteuid() == 0 else room.f_bavail
    # Where a file system does not count files, it says that it has none.
    if free * room.f_frsize < _BLOCK_BYTES or (room.f_files and not room.f_ffree):
        yield Obstacle(errors.CreateError, f"there is no room for it in {directory}", "remove what is not needed there")


def _read_only_device(device: int) -> Iterator[Obstacle]:
    """Ask whether what a file system lies on takes writes; it may have been mounted before that ended."""
    for number in _numbers(device):
        directory = sysfs.numbered(number)
        if sysfs.attribute(directory, "ro") == "1":
            node = sysfs.node(directory)
            yield Obstacle(errors.NotPermittedError, f"{node} is read-only", f"see blockdev --setrw {node}")


def _numbers(device: int) -> list[int]:
    """Give the block device of a file system, from what its files have for one; of btrfs that is none."""
    if os.major(device):
        return [device]
    sources = {one.source for one in mounts.read() if one.number == device and one.source.startswith("/dev/")}
    return [os.stat(source).st_rdev for source in sorted(sources)]


def _no_lock() -> Iterator[Obstacle]:
    """Ask whether the lock of the block can be made; where its directory can't be written, another lock serves."""
    directory = RUN_DIRECTORY if os.path.isdir(RUN_DIRECTORY) else os.path.dirname(RUN_DIRECTORY)
    with suppress(OSError):
        room = os.statvfs(directory)
        if os.geteuid() == 0 and room.f_files and not room.f_ffree and not room.f_flag & os.ST_RDONLY:
            yield Obstacle(
                errors.DeviceError, f"there is no room for its lock in {directory}", "remove what is not needed there"
            )


def _inside(place: Inside) -> Iterator[Obstacle]:
    """Ask of a disk or an image that is worked on offline."""
    with suppress(OSError):
        status = os.stat(place.device)
        if stat.S_ISBLK(status.st_mode):
            yield from _read_only_device(status.st_rdev)
        elif os.statvfs(place.device).f_flag & os.ST_RDONLY:
            yield _refused(OSError(errno.EROFS, os.strerror(errno.EROFS)), place.device)
        elif (kept := _kept_as_it_is(place.device)) is not None:
            yield kept


def _refused(error: OSError, path: str) -> Obstacle:
    """Say why the kernel refuses to open something for writing."""
    if error.errno == errno.EROFS:
        point = _mount_point(path)
        return Obstacle(
            errors.NotPermittedError, "its file system is mounted read-only", f"see mount -o remount,rw {point}"
        )
    if error.errno == errno.EPERM and (kept := _kept_as_it_is(path)) is not None:
        return kept
    raised = errors.from_os_error(error, "write it")
    denied = error.errno == errno.EACCES and os.geteuid() != 0
    return Obstacle(type(raised), error.strerror or str(error), raised.hint, denied)


def _kept_as_it_is(path: str) -> Obstacle | None:
    """Say which attribute keeps a file, or a directory, from being changed, if there is one."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            answer = fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(8))
        finally:
            os.close(descriptor)
        for flag, (called, letter) in _KEPT_AS_THEY_ARE.items():
            if struct.unpack_from("I", answer)[0] & flag:
                return Obstacle(errors.NotPermittedError, f"{path} is {called}", f"see chattr -{letter} {path}")
    return None


def _mount_point(path: str) -> str:
    with suppress(OSError):
        # A directory, or a file, that is mounted once more from the same file system is in this table only.
        points = {one.point for one in mounts.read()}
        while path not in points and path != "/":
            path = os.path.dirname(path)
        return path
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path
