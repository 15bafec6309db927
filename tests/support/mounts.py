"""File systems that are mounted for a test, and are gone afterwards."""

import ctypes
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.loop import run
from support.patience import once_free

_OPTIONS = "commit=300"
"""No timer writes while a slow test looks on."""
_NOATIME = 0x400
"""MS_NOATIME: reading writes nothing."""
_FLUSH_AND_FORGET = 0x1261
"""BLKFLSBUF."""
_CLONE_NEWNS = 0x20000
_MNT_DETACH = 2
_MS_BIND = 0x1000
_MS_SLAVE_ALL = 0x80000 | 0x4000
"""MS_SLAVE and MS_REC: what the machine unmounts is unmounted here too, and nothing that is mounted here is there."""


def have_own_mounts() -> None:
    """Keep what this process mounts from now on to itself and those whom it starts; without root do nothing.

    Whoever makes a mount namespace, as mmdebstrap does for minutes, has a copy of each mount of the machine, and a
    file system is in use until the last copy is gone. So a test whose mounts all can see waits for what runs beside it.
    """
    if os.geteuid() != 0:
        return
    # os.unshare is there from Python 3.12 on.
    _call("unshare", _CLONE_NEWNS)
    _call("mount", b"none", b"/", None, _MS_SLAVE_ALL, None)


def let_others_in(directory: Path) -> None:
    """Let who is not root reach a directory in the mounts of this process, also where it lies in root's home.

    What else is in the directory that only root may enter is hidden from this process and those whom it starts.
    """
    closed = next((parent for parent in reversed(directory.parents) if not parent.stat().st_mode & stat.S_IXOTH), None)
    if os.geteuid() != 0 or closed is None:
        return
    with tempfile.TemporaryDirectory() as aside:
        _call("mount", bytes(directory), aside.encode(), None, _MS_BIND, None)
        _call("mount", b"tmpfs", bytes(closed), b"tmpfs", 0, b"mode=755")
        directory.mkdir(parents=True)
        _call("mount", aside.encode(), bytes(directory), None, _MS_BIND, None)
        _call("umount2", aside.encode(), 0)
    # By its name, which leads to what lies on top now.
    os.chdir(os.getcwd())


def make_ext4(disk: Path) -> None:
    """Make a file system in which the kernel has nothing left to do when it is mounted."""
    run("mke2fs", "-q", "-F", "-t", "ext4", "-J", "size=1", "-b", "1024", "-E", "lazy_itable_init=0", disk)


@contextmanager
def mounted(device: str, point: Path, options: str = _OPTIONS) -> Iterator[Path]:
    """Mount the ext4 on a device, as it is on the disk; afterwards it can be mounted anew, with other content.

    No program is started for it: a campaign does it thousands of times.
    """
    forget(device)
    _call("mount", device.encode(), bytes(point), b"ext4", _NOATIME, options.encode())
    try:
        yield point
    finally:
        _call("umount2", bytes(point), 0)
        _wait_until_nobody_has_it(device)


@contextmanager
def hanging(point: Path) -> Iterator[Path]:
    """Mount a file system that answers nobody, as one whose disk hangs; who asks it for something waits to the end."""
    with open("/dev/fuse", "r+b", buffering=0) as server:
        options = f"fd={server.fileno()},rootmode=40000,user_id=0,group_id=0"
        _call("mount", b"hangs", bytes(point), b"fuse", 0, options.encode())
        try:
            yield point
        finally:
            _call("umount2", bytes(point), _MNT_DETACH)


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


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library, which has to succeed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc[name](*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


def _wait_until_nobody_has_it(device: str) -> None:
    """Wait for the mount namespaces that were made out of this one meanwhile: each keeps its copy of a mount alive."""
    once_free(lambda: os.close(os.open(device, os.O_RDONLY | os.O_EXCL)))
