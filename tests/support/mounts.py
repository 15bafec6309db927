"""File systems that are mounted for a test, and are gone afterwards."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.loop import run

_OPTIONS = "commit=300,noatime"
"""No timer writes while a slow test looks on, and reading writes nothing."""
_GONE_LIMIT_S = 120
_FLUSH_AND_FORGET = 0x1261
"""BLKFLSBUF."""


def make_ext4(disk: Path) -> None:
    """Make a file system in which the kernel has nothing left to do when it is mounted."""
    run("mke2fs", "-q", "-F", "-t", "ext4", "-J", "size=1", "-b", "1024", "-E", "lazy_itable_init=0", disk)


@contextmanager
def mounted(device: str, point: Path) -> Iterator[Path]:
    """Mount the ext4 on a device, as it is on the disk; afterwards it can be mounted anew, with other content."""
    forget(device)
    run("mount", "-o", _OPTIONS, device, point)
    try:
        yield point
    finally:
        run("umount", point)
        _wait_until_nobody_has_it(device)


def fill(device: str, disk: Path, content: bytes) -> None:
    """Put other content on a disk, behind the back of the device that leads to it."""
    forget(device)  # what was still to be written is not written over it
    disk.write_bytes(content)
    forget(device)


def forget(device: str) -> None:
    """Let the next reader of a device see what is on its disk now.

    The kernel itself forgets a device when its last user closes it. That may be anybody: a test beside this one that
    looks at all disks of the machine has it open for a moment, and the disk that was changed below it stays unseen.
    """
    with open(device, "rb") as file:
        fcntl.ioctl(file, _FLUSH_AND_FORGET)


def _wait_until_nobody_has_it(device: str) -> None:
    """Wait for the mount namespaces that were made meanwhile: each has a copy of the mount, and keeps it alive."""
    deadline = time.monotonic() + _GONE_LIMIT_S
    while True:
        try:
            os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
