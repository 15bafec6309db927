"""Whether somebody uses a disk: it is mounted, a device lies on it, or a program such as QEMU has it.

The disk is asked, its partitions, and what lies below: whoever has the image of a loop device has the device.
"""

import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from manageboot import errors
from manageboot.layers import Layer, attachments, identity, kernel_name, layers, partitions

_PATIENCE_S = 1.0
_LOOP_WAIT_S = 5.0
_POLL_INTERVAL_S = 0.05

_LOCK = struct.Struct("hhqqi4x")
"""struct flock: type, whence, start, length, pid. Length 0 means up to the end, and further."""


@contextmanager
def looked_at(path: str) -> Iterator[int]:
    """Open a disk or an image for the time of a with block, whoever uses it; give its descriptor.

    Raises:
        DeviceMissingError: it is not there, or neither a disk nor a file.
        DeviceError, NotPermittedError: it can't be opened.
    """
    with ExitStack() as stack:
        yield _open(stack, path, os.O_RDONLY)


@contextmanager
def unused(path: str, *, write: bool) -> Iterator[int]:
    """Open a disk or an image that nobody uses for the time of a with block; give its descriptor.

    With write, others are kept out: a block device is held exclusively, and an image locked as QEMU locks its own, so
    that no QEMU starts with it. Without, nobody is: a query must not make another run fail.

    Raises:
        DeviceBusyError: somebody uses it, or what lies below it, and still does after a second; the message says who,
            as far as it can be known. Where that can't be told, it counts as used.
        DeviceMissingError: it is not there, or neither a disk nor a file.
        DeviceError, NotPermittedError: it can't be opened.
    """
    deadline = time.monotonic() + _PATIENCE_S
    with ExitStack() as stack:
        while True:
            try:
                descriptor = _take(stack, path, write=write)
                break
            except errors.DeviceBusyError:
                # A query may have had it for an instant, or a run that was killed is not quite gone.
                stack.close()
                if time.monotonic() > deadline:
                    raise
            time.sleep(_POLL_INTERVAL_S)
        yield descriptor


def _take(stack: ExitStack, path: str, *, write: bool) -> int:
    with looked_at(path) as descriptor:
        status = os.fstat(descriptor)
    try:
        found = list(layers(path, status))
        descriptor, *_ = [_hold(stack, layer, write=write and layer.exclusive) for layer in found]
        for user in (*_attached(found), *_writers(found)):
            raise _busy(path, user)
    except OSError as error:
        raise _busy(path, f"who uses {error.filename}, below it, can't be told") from error
    return descriptor


def _hold(stack: ExitStack, layer: Layer, *, write: bool) -> int:
    """Make sure that nobody holds a layer, or a lock on it; with write, hold it."""
    exclusive = 0
    if layer.exclusive and stat.S_ISBLK(os.stat(layer.path).st_mode):
        # For a block device O_EXCL means: nothing of it is mounted, and nothing is built on it.
        exclusive = os.O_EXCL
        if not write:
            with ExitStack() as instant:
                _open(instant, layer.path, os.O_RDONLY | exclusive)
    descriptor = _open(stack, layer.path, (os.O_RDWR | exclusive) if write else os.O_RDONLY)
    for user in _locks(descriptor, write=write):
        raise _busy(layer.path, user)
    if exclusive:
        for _, node in partitions(os.fstat(descriptor).st_rdev):
            if os.path.exists(node):
                with looked_at(node) as partition:
                    for user in _locks(partition, write=False):
                        raise _busy(node, user)
    return descriptor


def _open(stack: ExitStack, path: str, flags: int) -> int:
    doing = f"use {path}"
    try:
        status = os.stat(path)
        if not (stat.S_ISBLK(status.st_mode) or stat.S_ISREG(status.st_mode)):
            raise errors.DeviceMissingError(f"cannot {doing}: it is neither a disk nor an image")
        descriptor = os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise _busy(path, "it is mounted, or a device lies on it") from error
        missing = error.errno in {errno.ENOENT, errno.ENXIO, errno.ENODEV}
        raise errors.from_os_error(
            error, doing, errors.DeviceMissingError if missing else errors.DeviceError
        ) from error
    stack.callback(os.close, descriptor)
    return descriptor


def _busy(path: str, user: str) -> errors.DeviceBusyError:
    return errors.DeviceBusyError(
        f"cannot use {path}: {user}", hint="stop the system that runs from it, and detach what else uses it"
    )


def _attached(found: Sequence[Layer]) -> Iterator[str]:
    """Name a loop device over a disk, if there is one; what is mounted through it does not show at the disk itself.

    One that goes away with its last user is given a moment: udev looks at each, and may still do when we are through.
    """
    deadline = time.monotonic() + _LOOP_WAIT_S
    while (attached := next(_loop_devices(found), None)) is not None:
        name, user = attached
        if not _goes_by_itself(name) or time.monotonic() > deadline:
            yield user
            return
        time.sleep(_POLL_INTERVAL_S)


def _goes_by_itself(name: str) -> bool:
    try:
        with open(f"/sys/class/block/{name}/loop/autoclear", encoding="ascii") as file:
            return file.read().strip() == "1"
    except OSError:
        return True  # it has just gone


def _loop_devices(found: Sequence[Layer]) -> Iterator[tuple[str, str]]:
    """Give the name of each loop device over one of the layers, but for these themselves, and what is to be said."""
    statuses = [os.stat(layer.path) for layer in found]
    ours = {kernel_name(status) for status in statuses if stat.S_ISBLK(status.st_mode)}
    for name, target in attachments():
        if name in ours:
            continue
        if target is None:
            yield name, f"what /dev/{name} is attached to can't be told"
        for layer in found:
            if target in layer.identities:
                yield name, f"/dev/{name} is attached to {_called(layer, found)}"


def _called(layer: Layer, found: Sequence[Layer]) -> str:
    return "it" if layer is found[0] else f"{layer.path}, below it"


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


def _writers(found: Sequence[Layer]) -> Iterator[str]:
    """Name the programs that have a disk open for writing: QEMU without locks, or behind a /dev of its own."""
    layer_of = {one: layer for layer in reversed(found) for one in layer.identities}
    processes = [name for name in os.listdir("/proc") if name.isdecimal()]
    if not processes:
        yield "who has it open can't be told: /proc is not mounted"
    for pid in processes:
        if int(pid) == os.getpid():
            continue
        # Processes end while they are looked at; those of others are root's to see.
        with suppress(OSError):
            for number in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    layer = layer_of.get(identity(os.stat(f"/proc/{pid}/fd/{number}")))
                    if layer is not None and _writes(pid, number):
                        yield f"process {pid} ({_name(pid)}) has {_called(layer, found)} open for writing"


def _writes(pid: str, number: str) -> bool:
    with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as file:
        flags = next(int(line.split()[1], 8) for line in file if line.startswith("flags:"))
    return flags & os.O_ACCMODE != os.O_RDONLY


def _name(pid: str) -> str:
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
