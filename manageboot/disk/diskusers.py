"""Whether somebody uses a disk, or a device of a slot: it is mounted, a device lies on it, or a program has it.

The device is asked, its partitions, and what lies below: whoever has the image of a loop device has the device. Only
the part that is concerned counts: a loop device over the other slot of the same disk does not.
"""

import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TypeVar

from manageboot import errors
from manageboot.disk import mounts, sysfs
from manageboot.disk.layers import Layer, attachments, disk_of, holders, identity, kernel_name, layers, partitions
from manageboot.disk.openfiles import View

_RELEASE_WAIT_S = 1.0
"""Time for a query, or a run that was killed, to let go of a device."""
_LOOP_WAIT_S = 5.0
_POLL_INTERVAL_S = 0.05

_MOST_POINTS = 3
"""How many places where it is mounted are named."""

_SERVANTS = frozenset({"mdmon"})
"""Programs that serve what lies on a disk, and for that have it open for writing as long as the system runs: mdmon
keeps the metadata of a RAID of the firmware's, and writes nothing else."""

_LOCK = struct.Struct("hhqqi4x")
"""struct flock: type, whence, start, length, pid. Length 0 means up to the end, and further."""

_T = TypeVar("_T")

_Found = Sequence[Layer]
"""A device, and all that lies below it."""


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
    with ExitStack() as stack:

        def take() -> int:
            stack.close()  # what an attempt before opened
            return _take(stack, path, write=write)

        yield _patiently(take)


def require_unused(paths: Sequence[str]) -> None:
    """Make sure that nobody uses the devices of a slot, before it is written.

    Nobody is kept out by that; `BlockDevice` holds them exclusively then. But that alone does not show who mounted one
    of them through a loop device, or has it open.

    Args:
        paths: block devices.

    Raises:
        DeviceBusyError: somebody uses one, or what lies below it, and still does after a second; the message says who.
            Where that can't be told, it counts as used.
    """
    _patiently(lambda: _require_unused(paths))


def _patiently(look: Callable[[], _T]) -> _T:
    """Look again for a second: a query may have it for an instant, or a run that was killed is not quite gone."""
    deadline = time.monotonic() + _RELEASE_WAIT_S
    while True:
        try:
            return look()
        except errors.DeviceBusyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_POLL_INTERVAL_S)


def _take(stack: ExitStack, path: str, *, write: bool) -> int:
    with looked_at(path) as descriptor:
        status = os.fstat(descriptor)
    found = _layers(path, status)
    try:
        descriptor, *_ = [_hold(stack, layer, write=write and layer.exclusive) for layer in found]
    except OSError as error:
        raise _untold(path, error, f"who uses it can't be told: {error.filename}: {error.strerror or error}") from error
    _require_alone([found])
    return descriptor


def _require_unused(paths: Sequence[str]) -> None:
    all_found = []
    for path in paths:
        with looked_at(path) as descriptor:
            status = os.fstat(descriptor)
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise _busy(path, _claimed(status.st_rdev)) from error
        all_found.append(_layers(path, status))
    _require_alone(all_found)


def _layers(path: str, status: os.stat_result) -> _Found:
    try:
        return list(layers(path, status))
    except OSError as error:
        raise _untold(path, error, f"who uses {error.filename}, below it, can't be told") from error


def _require_alone(all_found: Sequence[_Found]) -> None:
    """Make sure that no loop device lies over any of these devices, and that no program has one open for writing."""
    try:
        for found in all_found:
            for user in _attached(found):
                raise _busy(found[0].path, user)
        for path, user in _writers(all_found):
            raise _busy(path, user)
    except OSError as error:
        cause = f"who uses it can't be told: {error.filename}: {error.strerror or error}"
        raise _untold(all_found[0][0].path, error, cause) from error


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
            raise _busy(path, _claimed(status.st_rdev)) from error
        missing = error.errno in {errno.ENOENT, errno.ENXIO, errno.ENODEV}
        raise errors.from_os_error(
            error, doing, errors.DeviceMissingError if missing else errors.DeviceError
        ) from error
    stack.callback(os.close, descriptor)
    return descriptor


def _busy(path: str, user: str) -> errors.DeviceBusyError:
    return errors.DeviceBusyError(
        f"cannot use {path}: {user}",
        hint="stop what uses it, unmount it, and detach what lies on it; see findmnt, losetup and lsblk",
    )


def _untold(path: str, error: OSError, cause: str) -> errors.ManagebootError:
    """Make the error for a look that failed: what can't be told counts as used."""
    if errors.is_exhausted(error):
        return errors.from_os_error(error, f"tell who uses {path}")
    return errors.DeviceBusyError(f"cannot use {path}: {cause}", hint="it counts as used; mount /proc and /sys")


def _claimed(number: int) -> str:
    """Say who has a block device exclusively."""
    with suppress(OSError):
        for one in (number, *(partition for partition, _ in partitions(number)), disk_of(number)):
            if one is not None:
                if points := mounts.points(one):
                    return f"it is mounted at {_some(points)}"
                if lying := holders(one):
                    return f"{_some([f'/dev/{name}' for name in lying])} lies on it"
                if mounts.is_swap(one):
                    return "it is swap space"
    return "it is mounted, or a device lies on it"


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_POINTS
    return ", ".join(names[:_MOST_POINTS]) + (f" and {rest} more" if rest > 0 else "")


def _attached(found: _Found) -> Iterator[str]:
    """Name a loop device over a disk, if there is one; what is mounted through it does not show at the disk itself.

    One that goes away with its last user is given a moment: udev looks at each, and may still do when we are through.
    One that is mounted does not go.
    """
    deadline = time.monotonic() + _LOOP_WAIT_S
    while (attached := next(_loop_devices(found), None)) is not None:
        name, user = attached
        points = _points(name)
        if points or not _goes_by_itself(name) or time.monotonic() > deadline:
            yield f"{user}, and mounted at {_some(points)}" if points else user
            return
        time.sleep(_POLL_INTERVAL_S)


def _points(name: str) -> list[str]:
    with suppress(OSError):
        return mounts.points(os.stat(f"/dev/{name}").st_rdev)
    return []


def _goes_by_itself(name: str) -> bool:
    with suppress(OSError):
        return sysfs.attribute(sysfs.named(name), "loop/autoclear") in {"1", None}
    return True


def _loop_devices(found: _Found) -> Iterator[tuple[str, str]]:
    """Give the name of each loop device over one of the layers, but for these themselves, and what is to be said."""
    statuses = [os.stat(layer.path) for layer in found]
    ours = {kernel_name(status) for status in statuses if stat.S_ISBLK(status.st_mode)}
    for name, target, span in attachments():
        if name in ours:
            continue
        if target is None:
            yield name, f"what /dev/{name} is attached to can't be told"
        for layer, status in zip(found, statuses, strict=True):
            # Of its partitions only those that are concerned are among the identities.
            if target in layer.identities and (target != identity(status) or span.overlaps(layer.span)):
                yield name, f"/dev/{name} is attached to {_called(layer, found)}"


def _called(layer: Layer, found: _Found) -> str:
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


def _writers(all_found: Sequence[_Found]) -> Iterator[tuple[str, str]]:
    """Name the programs that have a disk open for writing: QEMU without locks, or behind a /dev of its own."""
    layer_of = {one: (layer, found) for found in all_found for layer in reversed(found) for one in layer.identities}
    view = View()
    for writer in view.writers(layer_of):
        layer, found = layer_of[writer.identity]
        if writer.name in _SERVANTS and not layer.exclusive:
            continue
        said = f"process {writer.pid} ({writer.name}) has {_called(layer, found)} open for writing"
        yield found[0].path, said
    if view.hidden or view.is_part:
        import logging

        whose = f"{view.hidden} processes" if view.hidden else "processes outside of this container"
        logging.getLogger(__name__).warning("whether %s have %s open can't be told", whose, all_found[0][0].path)
