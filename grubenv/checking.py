"""Everything that is wrong with an environment block: its bytes, its place on the disk, and what it lies on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from grubenv.damage import TABLE
from grubenv.damage.diagnosis import diagnose
from grubenv.disk import ext
from grubenv.disk.device import RawDevice, first_difference
from grubenv.disk.extents import Extent, extent_damages, extents, has_hole
from grubenv.disk.filesystem import device_damage, device_path, file_system_damage, file_system_of
from grubenv.errors import Damage, from_os_error, reason
from grubenv.file import read_bytes
from grubenv.place import Inside, require_regular, resolve

if TYPE_CHECKING:
    from grubenv.place import Path

SCHEMA = 1
_EXT = ("ext2", "ext3", "ext4")
_TRIES = 3
_PAUSE_S = 0.05


class Report(NamedTuple):
    """What a check found."""

    path: str
    damages: tuple[Damage, ...]
    """Everything that is wrong; `grubenv.damage.TABLE` explains each word."""
    unknown: tuple[str, ...]
    """What could not be looked at, and why."""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong, as far as it could be looked at."""
        return not self.damages

    def lines(self) -> list[str]:
        """Return the report for people: for each damage what it is, what GRUB does, and what a repair does."""
        found = [f"{self.path}: sound"] if self.sound else []
        for damage in self.damages:
            kind = TABLE[damage.word]
            found += [f"{self.path}: {damage.word}: {damage}", f"  GRUB: {kind.grub}", f"  repair: {kind.repair}"]
        return found + [f"{self.path}: not looked at: {text}" for text in self.unknown]

    def json(self) -> str:
        """Return the report for programs."""
        damages = [
            {"word": damage.word, "offset": damage.offset, "text": damage.text, **TABLE[damage.word]._asdict()}
            for damage in self.damages
        ]
        return json.dumps(
            {
                "schema": SCHEMA,
                "path": self.path,
                "sound": self.sound,
                "damages": damages,
                "unknown": list(self.unknown),
            }
        )


def check(path: Path | Inside, boot_names: Iterable[str] | None = None) -> Report:
    """Look for every damage of the block in the file. Takes no lock and changes nothing.

    To see what the disk itself holds takes the right to read the device; where that or something else is
    missing, the report's `unknown` says so.

    Args:
        boot_names: the names that the boot needs, which have to lie within the first 512 bytes; None: all of them.

    Raises:
        AbsentError, NotRegularError, NotPermittedError, StorageError: the file cannot be read.

    >>> import tempfile, grubenv
    >>> file = tempfile.NamedTemporaryFile(); _ = file.write(b"# GRUB Environment Block\\na=1" + 995 * b"#")
    >>> file.flush(); [damage.word for damage in check(file.name).damages][0]
    'no-newline'
    """
    names = None if boot_names is None else frozenset(boot_names)
    if isinstance(path, Inside):
        # It was found in the place where GRUB looks for it, and read from there.
        return Report(str(path), tuple(diagnose(read_bytes(path), names)), ())
    name = os.fspath(path)
    for _ in range(_TRIES):
        data = read_bytes(path)
        damages = diagnose(data, names)
        placed, unknown = examine_place(path, data)
        if not any(damage.word == "not-in-place" for damage in placed):
            break
        time.sleep(_PAUSE_S)  # somebody may be writing it at this moment
    return Report(name, (*damages, *placed), unknown)


def examine_place(path: Path, data: bytes) -> tuple[list[Damage], tuple[str, ...]]:
    """Return what is wrong with where the file's content, `data`, lies, and what could not be looked at.

    Raises:
        AbsentError, NotRegularError, NotPermittedError, StorageError: the file cannot be opened.
    """
    directory, file_name = resolve(path)
    name = os.fspath(path)
    try:
        directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise from_os_error(exc, "read", name) from exc
    try:
        return examine_file(directory_fd, file_name, name, data)
    finally:
        os.close(directory_fd)


def examine_file(directory_fd: int, file_name: str, path: str, data: bytes) -> tuple[list[Damage], tuple[str, ...]]:
    """Say the same of the file `file_name` in the open directory; `path` is for messages."""
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        descriptor = os.open(file_name, flags, dir_fd=directory_fd)
        try:
            require_regular(os.fstat(descriptor), "read", path)
            return _examine(descriptor, os.fstat(directory_fd).st_ino, file_name, data)
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise from_os_error(exc, "read", path) from exc


def _examine(descriptor: int, directory: int, file_name: str, data: bytes) -> tuple[list[Damage], tuple[str, ...]]:
    damages: list[Damage] = []
    unknown: list[str] = []
    device = os.fstat(descriptor).st_dev
    kind = ""
    try:
        kind = file_system_of(descriptor)
        fault = file_system_damage(kind) or device_damage(device)
        damages += [fault] if fault else []
    except OSError as exc:
        unknown.append(f"the file system ({reason(exc)})")
    except LookupError as exc:
        unknown.append(f"the file system ({exc})")
    if kind in _EXT and (fault := _unreadable(device, kind)):
        # Wherever in it the file lies, GRUB does not find it, and no repair helps.
        return [*damages, fault], tuple(unknown)
    found: list[Extent] = []
    if data:
        try:
            found = extents(descriptor)
            damages += extent_damages(len(data), found)
        except OSError as exc:
            damages += [Damage("sparse", None, "a hole")] if has_hole(descriptor) else []
            unknown.append(f"the file's place on the device ({reason(exc)})")
    if damages or not found or not data:
        return damages, tuple(unknown)
    try:
        with RawDevice(device_path(device), device) as raw:
            fault = _ext_fault(raw, directory, file_name, data) if kind in _EXT else _data_fault(raw, found, data)
        damages += [fault] if fault else []
    except OSError as exc:
        unknown.append(f"what the device itself holds ({reason(exc)})")
    except (LookupError, ext.UnknownLayoutError) as exc:
        unknown.append(f"what the device itself holds ({exc})")
    return damages, tuple(unknown)


def _unreadable(device: int, kind: str) -> Damage | None:
    """Return why GRUB can't read a file system of the ext family; None as well where the device can't be read."""
    try:
        with RawDevice(device_path(device), device) as raw:
            cause = ext.unreadable(raw.read(ext.SUPER_OFFSET, ext.SUPER_BYTES))
    except (OSError, LookupError):
        return None  # where nothing else is wrong, the device is read again, and that is said
    return Damage("unreadable-file-system", None, f"on {kind} with {cause}, which GRUB cannot read") if cause else None


def _ext_fault(raw: RawDevice, directory: int, file_name: str, data: bytes) -> Damage | None:
    """Follow directory, inode and blocks on the device as GRUB does, and compare what is found with the file."""
    form = ext.geometry(raw.read)
    entries = ext.read_inode(raw.read, form, directory)
    number = ext.find_entry(entries, os.fsencode(file_name), form.block_size)
    if number is None:
        return Damage("not-in-place", None, "the directory on the device does not have it yet")
    found = ext.read_inode(raw.read, form, number)
    if found == data:
        return None
    if len(found) != len(data):
        return Damage("not-in-place", None, f"on the device it has {len(found)} bytes, not {len(data)}")
    return Damage("not-in-place", first_difference(found, data), "the device holds other bytes")


def _data_fault(raw: RawDevice, found: list[Extent], data: bytes) -> Damage | None:
    """Compare what lies in the file's blocks on the device with the file's content."""
    for extent in found:
        wanted = data[extent.logical : extent.logical + extent.length]
        there = raw.read(extent.physical, len(wanted))
        if there != wanted:
            offset = extent.logical + first_difference(there, wanted)
            return Damage("not-in-place", offset, "the device holds other bytes")
    return None
