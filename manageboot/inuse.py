"""Whether somebody uses a disk: it is mounted, a device lies on it, or a program such as QEMU has it."""

import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

from manageboot import errors

_LOOP_WAIT_S = 5.0
_POLL_INTERVAL_S = 0.05

_LOCK = struct.Struct("hhqqi4x")
"""struct flock: type, whence, start, length, pid. Length 0 means up to the end, and further."""


def open_unused(path: str, *, write: bool) -> int:
    """Open a disk or an image that nobody uses, and return its descriptor.

    With write, others are kept out: a block device is held exclusively, and an image locked as QEMU locks its own, so
    that no QEMU starts with it. The descriptor's end is the end of that.

    Raises:
        DeviceBusyError: somebody uses it; the message says who, as far as it can be known.
        DeviceMissingError: it is not there, or neither a disk nor a file.
        DeviceError, NotPermittedError: it can't be opened.
    """
    doing = f"use {path}"
    try:
        status = os.stat(path)
        if not (stat.S_ISBLK(status.st_mode) or stat.S_ISREG(status.st_mode)):
            raise errors.DeviceMissingError(f"cannot {doing}: it is neither a disk nor an image")
        # For a block device O_EXCL means: nothing of it is mounted, and nothing is built on it.
        exclusive = os.O_EXCL if stat.S_ISBLK(status.st_mode) else 0
        descriptor = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | exclusive | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise _busy(path, "it is mounted, or a device lies on it") from error
        missing = error.errno in {errno.ENOENT, errno.ENXIO, errno.ENODEV}
        raise errors.from_os_error(
            error, doing, errors.DeviceMissingError if missing else errors.DeviceError
        ) from error
    try:
        for user in (*_loop_device(status), *_locks(descriptor, write=write), *_writers(status)):
            raise _busy(path, user)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _busy(path: str, user: str) -> errors.DeviceBusyError:
    return errors.DeviceBusyError(
        f"cannot use {path}: {user}", hint="stop the system that runs from it, and detach what else uses it"
    )


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    if stat.S_ISBLK(one.st_mode):
        return stat.S_ISBLK(other.st_mode) and one.st_rdev == other.st_rdev
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def _loop_device(status: os.stat_result) -> Iterator[str]:
    """Name a loop device over a disk, if there is one; what is mounted through it does not show at the disk itself.

    One that goes away with its last user is given a moment: udev looks at each, and may still do when we are through.
    """
    deadline = time.monotonic() + _LOOP_WAIT_S
    while (name := next(_loop_devices(status), None)) is not None:
        if not _goes_by_itself(name) or time.monotonic() > deadline:
            yield f"/dev/{name} is attached to it"
            return
        time.sleep(_POLL_INTERVAL_S)


def _goes_by_itself(name: str) -> bool:
    try:
        with open(f"/sys/class/block/{name}/loop/autoclear", encoding="ascii") as file:
            return file.read().strip() == "1"
    except OSError:
        return True  # it has just gone


def _loop_devices(status: os.stat_result) -> Iterator[str]:
    for name in sorted(os.listdir("/sys/class/block")):
        if not name.startswith("loop"):
            continue
        with suppress(OSError):
            with open(f"/sys/class/block/{name}/loop/backing_file", encoding="utf-8") as file:
                below = os.stat(file.read().rstrip("\n"))
            if _same(status, below):
                yield name


def _locks(descriptor: int, *, write: bool) -> Iterator[str]:
    """Ask for locks of others, such as QEMU puts on every image; with write, put one there."""
    request = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, request)
        if _LOCK.unpack(answer)[0] != fcntl.F_UNLCK:
            yield "a program, such as QEMU, holds a lock on it"
        if write:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, request)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            yield "a program, such as QEMU, has just locked it"
        # A file system without locks has none of QEMU's either.


def _writers(status: os.stat_result) -> Iterator[str]:
    """Name the programs that have a disk open for writing: QEMU without locks, or behind a /dev of its own."""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        # Processes end while they are looked at; those of others are root's to see.
        with suppress(OSError):
            for number in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    if _same(status, os.stat(f"/proc/{pid}/fd/{number}")) and _writes(pid, number):
                        yield f"process {pid} ({_name(pid)}) has it open for writing"


def _writes(pid: str, number: str) -> bool:
    with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as file:
        flags = next(int(line.split()[1], 8) for line in file if line.startswith("flags:"))
    return flags & os.O_ACCMODE != os.O_RDONLY


def _name(pid: str) -> str:
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
