"""The programs that have a device or a file open for writing, as far as /proc shows them.

A file is asked what it is without asking whoever keeps it: a network file system that hangs must not hang this, too.
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Container, Iterator
from contextlib import suppress
from typing import NamedTuple

from manageboot.disk.layers import Identity

_PROC = "/proc"

_NO_FILES = ("socket:", "pipe:", "anon_inode:")
"""How the links to what lies in no file system begin."""

# Source: statx(2), linux/stat.h.
_WITHOUT_ASKING = 0x800 | 0x4000
"""AT_NO_AUTOMOUNT and AT_STATX_DONT_SYNC."""
_TYPE_AND_INODE = 0x1 | 0x100
_STATX = struct.Struct("=28x H 2x Q 88x 4L 112x")
"""Mode, inode, and the numbers of the device that the file is, and of that which it lies on, in two parts each."""

_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""Source: PROC_PID_INIT_INO in linux/proc_ns.h."""


_ENDED = frozenset({errno.ENOENT, errno.ESRCH})
"""What the directory of a process says that has just ended."""


class Writer(NamedTuple):
    """A program that has something open for writing."""

    pid: int
    name: str
    """Of the program, as the kernel has it."""
    identity: Identity
    """What it has open."""


class View:
    """One look at all processes; what could not be seen is known afterwards."""

    def __init__(self) -> None:
        """Look at nothing yet.

        Raises:
            OSError: there is no /proc that shows this process, let alone others.
        """
        self.hidden = 0
        """How many processes did not let themselves be looked at."""
        # Its own number here: /proc may count from another namespace than getpid() does.
        self._own = os.readlink(f"{_PROC}/self")

    @property
    def is_part(self) -> bool:
        """Whether processes outside of this container do not show at all."""
        with suppress(OSError):
            return os.stat(f"{_PROC}/self/ns/pid").st_ino != _INITIAL_PID_NAMESPACE
        return True

    def writers(self, wanted: Container[Identity]) -> Iterator[Writer]:
        """Give who has any of these open for writing, this process aside.

        Raises:
            OSError: a process can't be looked at, for another reason than that it is not to be.
        """
        for pid in filter(str.isdecimal, os.listdir(_PROC)):
            if pid == self._own:
                continue
            try:
                for found in _written(f"{_PROC}/{pid}/fd"):
                    if found in wanted:
                        yield Writer(int(pid), _name(pid), found)
            except PermissionError:
                self.hidden += 1
            except OSError as error:
                if error.errno not in _ENDED:
                    raise


def _written(path: str) -> Iterator[Identity]:
    """Give what a process has open for writing, from the directory of its descriptors; it may end meanwhile.

    Raises:
        OSError: the directory can't be read.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for number in os.listdir(directory):
            with suppress(OSError):
                # Of the link itself the kernel tells whether it is open for writing; most that are have no file at all.
                writes = os.lstat(number, dir_fd=directory).st_mode & stat.S_IWUSR
                if writes and not os.readlink(number, dir_fd=directory).startswith(_NO_FILES):
                    yield _identity(directory, number)
    finally:
        os.close(directory)


_statx = ctypes.CDLL(None).statx
_statx.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p)
_statx.restype = ctypes.c_int


def _identity(directory: int, name: str) -> Identity:
    """Tell what is open there, from what the kernel knows already.

    Raises:
        OSError: it is closed by now.
    """
    answer = ctypes.create_string_buffer(_STATX.size)
    if _statx(directory, name.encode(), _WITHOUT_ASKING, _TYPE_AND_INODE, answer) != 0:
        raise FileNotFoundError
    mode, inode, major, minor, on_major, on_minor = _STATX.unpack(answer.raw)
    return (os.makedev(major, minor), 0) if stat.S_ISBLK(mode) else (os.makedev(on_major, on_minor), inode)


def _name(pid: str) -> str:
    with suppress(OSError), open(f"{_PROC}/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
    return "?"
