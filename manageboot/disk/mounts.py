"""Where a block device is mounted or swapped to, in the kernel's own tables: for people, who then know what to end.

Whether a device is in use the kernel decides; these tables only say by whom. They are text, with names in it that
anybody may have chosen, so a line that can't be read is passed over.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

_PROC = "/proc"

_LONGEST_LINE_BYTES = 64 << 10
_BLANKS = re.compile(rb"[ \t]+")
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2})")
_NUMBERS = re.compile(rb"([0-9]{1,10}):([0-9]{1,10})")
_DELETED = b" (deleted)"

# Source: Linux Documentation/filesystems/proc.rst, mountinfo.
_NUMBER, _POINT, _FIRST_OPTIONAL = 2, 4, 6
_SEPARATOR = b"-"


class Mount(NamedTuple):
    """One line of a table of mounts."""

    number: int
    """The device as files on it have it; of btrfs, one that is no block device."""
    source: str
    """What was mounted, such as the path of a device."""
    point: str
    options: frozenset[str]
    """Those of the mount and of its file system."""


def read(table: str = f"{_PROC}/self/mountinfo") -> Iterator[Mount]:
    """Give the mounts of a table, the later over the earlier ones.

    Raises:
        OSError: there is no such table.
    """
    for line in _lines(table):
        mount = _parse(line)
        if mount is not None:
            yield mount


def points(number: int) -> list[str]:
    """Say where a block device is mounted: in this mount namespace, or else in the first of the others that has it."""
    seen = set()
    with suppress(OSError):
        for pid in ("self", *filter(str.isdecimal, os.listdir(_PROC))):
            # A process may end while it is looked at; then the next one of its namespace is asked.
            with suppress(OSError):
                namespace = os.stat(f"{_PROC}/{pid}/ns/mnt").st_ino
                if namespace not in seen:
                    found = [mount.point for mount in read(f"{_PROC}/{pid}/mountinfo") if _is_of(mount, number)]
                    if found:
                        return found
                    seen.add(namespace)
    return []


def is_swap(number: int, table: str = f"{_PROC}/swaps") -> bool:
    """Return whether a block device is swap space."""
    with suppress(OSError):
        for line in _lines(table):
            fields = _BLANKS.split(line)
            if len(fields) > 1 and fields[1] == b"partition":
                path = os.fsdecode(_unescaped(fields[0]).removesuffix(_DELETED))
                if _device(path) == number:
                    return True
    return False


def _lines(path: str) -> Iterator[bytes]:
    """Give the lines of a file; one that is too long to be of use is left out, and never held as a whole."""
    with open(path, "rb") as file:
        whole = True
        while line := file.readline(_LONGEST_LINE_BYTES):
            ends = line.endswith(b"\n")
            if whole and ends:
                yield line
            whole = ends


def _parse(line: bytes) -> Mount | None:
    fields = line.rstrip(b"\n").split(b" ")
    try:
        separator = fields.index(_SEPARATOR, _FIRST_OPTIONAL)
        source, file_system_options = fields[separator + 2], fields[separator + 3]
        numbers = _NUMBERS.fullmatch(fields[_NUMBER])
        number = os.makedev(int(numbers[1]), int(numbers[2])) if numbers else None
    except (ValueError, IndexError, OverflowError):
        return None
    if number is None:
        return None
    options = {*fields[_POINT + 1].split(b","), *file_system_options.split(b",")}
    return Mount(
        number,
        os.fsdecode(_unescaped(source)),
        os.fsdecode(_unescaped(fields[_POINT])),
        frozenset(os.fsdecode(option) for option in options),
    )


def _unescaped(field: bytes) -> bytes:
    return _ESCAPE.sub(lambda escape: bytes([int(escape[1], 8)]), field)


def _device(path: str) -> int | None:
    """Return the number of a block device; what is not below /dev is not asked, since it may be far away and hang."""
    if not path.startswith("/dev/") or "\0" in path:
        return None
    try:
        return os.stat(path).st_rdev or None
    except OSError:
        return None


def _is_of(mount: Mount, number: int) -> bool:
    return number in (mount.number, _device(mount.source))
