"""Putting a new file in the place of a missing, empty or unsound one."""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import ExitStack, suppress

from grubenv import debug
from grubenv.errors import CannotCreateError, FlushError, NotPermittedError, StorageError, from_os_error, reason

TEMPORARY_SUFFIX = ".new"
"""What the temporary file's name has behind the block's; there is only one, as the lock is held."""
HOLD_SUFFIX = ".held"
"""What the name that holds the old file for a moment has behind the block's."""
NEW_FILE_MODE = 0o644

_EXT4_IOC_CHECKPOINT = 0x4004662B


def replace_file(directory_fd: int, name: str, data: bytes, path: str) -> None:
    """Make `name` in the open, locked directory a file with `data`: write, flush, rename, flush the directory.

    A file that was there keeps its owner, mode and extended attributes. A temporary file that an interrupted
    run left is overwritten.

    GRUB replays no journal, so the new file has to be in its place before its name leads to it, and the old one
    has to stay in its place as long as a part of the directory may still lead there. A second name holds it; vfat,
    which has no such names and no journal either, keeps what somebody has open.

    Args:
        path: the file to name in errors.

    Raises:
        CannotCreateError: nothing was changed; the temporary file is gone.
        NotPermittedError: nothing was changed.
        FlushError: final; the rename may or may not be on the disk.

    Durability: on return, file and name are on the disk; cut before, the old file is there or the new one.
    """
    temporary = name + TEMPORARY_SUFFIX
    renamed = False
    try:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory_fd)
        with ExitStack() as stack:
            old = _open_old(directory_fd, name)
            if old is not None:
                stack.callback(os.close, old)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(temporary, flags, NEW_FILE_MODE, dir_fd=directory_fd)
            stack.callback(os.close, descriptor)
            _fill(descriptor, data)
            _keep_attributes(old, descriptor)
            _flush(descriptor, path)
            if debug.tell:
                debug.tell("write %s at 0, %d bytes, flushed", debug.place(directory_fd, temporary), len(data))
            _hold(directory_fd, name)
            _flush(directory_fd, path)
            if debug.tell:
                debug.tell("flush %s", debug.place(directory_fd))
            write_back_journal(directory_fd)
            os.rename(temporary, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
            renamed = True
            if debug.tell:
                debug.tell("rename %s to %s", debug.place(directory_fd, temporary), name)
            _flush(descriptor, path)  # vfat keeps size and place in the entry, and fills the new one only now
            _flush(directory_fd, path)
            if debug.tell:
                debug.tell("flush %s, and its directory", debug.place(directory_fd, name))
            write_back_journal(directory_fd)
        _release(directory_fd, name)
    except OSError as exc:
        error = from_os_error(exc, "create", path)
        if isinstance(error, NotPermittedError):
            raise error from exc
        raise CannotCreateError(error.cause, verb="create", path=path) from exc
    finally:
        if not renamed:
            _release(directory_fd, name)
            with suppress(OSError):
                os.unlink(temporary, dir_fd=directory_fd)


def _hold(directory_fd: int, name: str) -> None:
    """Give the file a second name, where there can be one."""
    _release(directory_fd, name)
    with suppress(OSError):
        os.link(name, name + HOLD_SUFFIX, src_dir_fd=directory_fd, dst_dir_fd=directory_fd, follow_symlinks=False)
        if debug.tell:
            debug.tell("link %s to %s", debug.place(directory_fd, name + HOLD_SUFFIX), name)


def _release(directory_fd: int, name: str) -> None:
    with suppress(OSError):
        os.unlink(name + HOLD_SUFFIX, dir_fd=directory_fd)


def _fill(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    if written != len(data):
        raise StorageError(f"only {written} of {len(data)} bytes were written", verb="create")


def _open_old(directory_fd: int, name: str) -> int | None:
    """Open the file that is replaced, if there is one: vfat gives its clusters away when nobody has it open."""
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory_fd)
    except FileNotFoundError:
        return None


def _keep_attributes(old: int | None, descriptor: int) -> None:
    """Give the new file owner, mode and extended attributes of the one it replaces, as far as both can."""
    if old is None:
        return
    status = os.fstat(old)
    with suppress(OSError):  # vfat has no owners
        os.fchown(descriptor, status.st_uid, status.st_gid)
    with suppress(OSError):
        os.fchmod(descriptor, status.st_mode & 0o7777)
    with suppress(OSError):  # nor attributes
        for attribute in os.listxattr(old):
            os.setxattr(descriptor, attribute, os.getxattr(old, attribute))


def _flush(descriptor: int, path: str) -> None:
    try:
        os.fsync(descriptor)
    except OSError as exc:
        raise FlushError(f"flush failed ({reason(exc)})", verb="create", path=path) from exc


def write_back_journal(descriptor: int) -> bool:
    """Have the journal of the open file's file system written back, without holding up other writers for long.

    ext3 and ext4 can do that since Linux 5.14, for root. Freezing and thawing the file system would do it for
    others too, but a kill between the two would leave it frozen, so this is not done.

    Returns:
        Whether it was done.

    Durability: on return, what was flushed before is where GRUB finds it. Cut in between, GRUB may find any
    mixture of the old and the new directory and inodes.

    Source: Linux fs/ext4/ioctl.c, ext4_ioctl_checkpoint.
    """
    try:
        fcntl.ioctl(descriptor, _EXT4_IOC_CHECKPOINT, struct.pack("=I", 0))
    except OSError:
        return False
    if debug.tell:
        debug.tell("write back the journal")
    return True
