"""Mending a damaged environment block, without losing what it can still tell."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from grubenv import debug
from grubenv.block import EnvBlock
from grubenv.checking import examine_file
from grubenv.damage.diagnosis import diagnose
from grubenv.damage.mending import in_place, made_way, mended, size_for
from grubenv.damage.salvage import salvage, shown
from grubenv.errors import Damage, GrubEnvError, NotAtomicError, StorageError, from_os_error
from grubenv.file import read_at
from grubenv.place import resolve
from grubenv.updating import DEFAULT_TIMEOUT_S
from grubenv.view import SECTOR_SIZE
from grubenv.writing.lock import locked_directory
from grubenv.writing.plan import plan
from grubenv.writing.replace import replace_file, write_back_journal
from grubenv.writing.storage import Storage, carry_out

if TYPE_CHECKING:
    from grubenv.place import Path
    from grubenv.writing.order import Step

COPY_SUFFIX = ".damaged"
_MOST_COPIES = 10


class Repair(NamedTuple):
    """What a repair found, did, and could not know."""

    path: str
    found: tuple[Damage, ...]
    remaining: tuple[Damage, ...]
    """The damages that it could not mend."""
    how: str
    """`unchanged`, `flushed` (only forced to its place), `direct`, `buffered` (in place), or `replaced`."""
    copy: str | None
    """The path of the file that keeps the damaged bytes."""
    kept: dict[str, str]
    """The variables of the block that were read out of the damaged bytes."""
    fallback: dict[str, str]
    """The variables that were set to the caller's fallback."""
    lost: tuple[str, ...]
    """What could not be kept."""
    unsure: tuple[str, ...]
    """What was kept, though it may not be what was last written."""
    spared: tuple[str, ...] = ()
    """The names for which the fallback was not used: GRUB reads them out of the damaged bytes, and boots by them."""
    restored: tuple[str, ...] = ()
    """The names of `kept` that GRUB did not read out of the damaged bytes, and reads now."""

    def lines(self) -> list[str]:
        """Return what was done, for people."""
        if not self.found:
            return [f"{self.path}: sound, nothing to repair"]
        done = {
            "unchanged": "nothing was written",
            "flushed": "forced to its place on the disk",
            "replaced": "a new file was made",
        }.get(self.how, "overwritten in place")
        told = [*(f"found {damage.word}: {damage}" for damage in self.found), done]
        told += [f"the damaged bytes are kept in {self.copy}"] if self.copy else []
        if self.how not in {"unchanged", "flushed"}:
            told += [f"kept {name}={value}" for name, value in self.kept.items()]
        told += [f"could not keep {text}" for text in self.lost]
        told += [f"kept, but not certain: {text}" for text in self.unsure]
        told += [f"GRUB did not read {', '.join(self.restored)} in the damaged bytes"] if self.restored else []
        told += [f"set by the fallback {name}={value}" for name, value in self.fallback.items()]
        told += [f"the fallback is not used, as GRUB reads {', '.join(self.spared)}"] if self.spared else []
        told += [f"not mended, {damage.word}: {damage}" for damage in self.remaining]
        return [f"{self.path}: {text}" for text in told]


def repair(path: Path, fallback: Mapping[str, str] | None = None, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Repair:
    r"""Mend all that can be mended in the block and in where it lies; do nothing to what is sound.

    Readable lines stay as they are, and so does whatever GRUB still reads. The damaged bytes are first copied to
    `NAME.damaged` (or `.damaged1` and so on) beside the file. The block is overwritten in place if it can be, its
    signature last if there was none; else a new file takes its place. A second repair changes nothing.

    Args:
        fallback: names and values that together are a state to fall back to. If something was lost, and one of
            these names cannot be read any more, all of them are set, unless GRUB still reads another one of them,
            and so boots by that. An absent file has lost everything.
        timeout_s: seconds to wait for another writer.

    Raises:
        BadNameError, BadValueError, NoRoomError: the fallback does not fit; nothing was written.
        ReadingsDifferError: the mended block would not read as wanted; nothing was written.
        LockedError, NotPermittedError, NotRegularError, CannotCreateError, StorageError: see their docstrings.

    Durability: on return the mended block is on the disk. Cut at any instant, GRUB reads what it read before or
    the mended block, and another repair finds all that the first one found.

    >>> import tempfile, pathlib
    >>> from grubenv import query
    >>> file = pathlib.Path(tempfile.mkdtemp(), "grubenv")
    >>> _ = file.write_bytes(b"# GRUB Environment Block\nboot_cycle=stable")
    >>> done = repair(file, {"boot_alternative": "A", "boot_cycle": "stable"})
    >>> done.how, done.lost, done.fallback["boot_alternative"], query(file)["boot_cycle"]
    ('replaced', ("'boot_cycle=stable' at offset 25: not a finished line",), 'A', 'stable')
    """
    name = os.fspath(path)
    try:
        directory, file_name = resolve(path)
        with locked_directory(directory, timeout_s, name) as directory_fd:
            return _repair(directory_fd, file_name, name, dict(fallback or {}))
    except GrubEnvError as error:
        raise error.at("repair", name)  # noqa: B904 the same error, with its place
    except OSError as exc:
        raise from_os_error(exc, "repair", name) from exc


def _repair(directory_fd: int, file_name: str, path: str, fallback: dict[str, str]) -> Repair:
    names = fallback or None
    data, placed = _look(directory_fd, file_name, path)
    found = (*diagnose(data, names), *placed)
    if debug.tell:
        debug.tell("damages of %s: %s", path, ", ".join(damage.word for damage in found) or "none")
    if not found:
        return Repair(path, (), (), "unchanged", None, {}, {}, (), ())
    how = "unchanged"
    if placed:
        _force_down(directory_fd, file_name, path)
        data, placed = _look(directory_fd, file_name, path)
        if (*diagnose(data, names), *placed) != found:
            how = "flushed"
    saved = salvage(data)
    block, taken = mended(saved, size_for(data), fallback)
    copy = None
    if data != block.build() or _wants_new_file(placed):
        copy = _keep_copy(directory_fd, file_name, data, path) if data else None
        how = _write(directory_fd, file_name, path, data, block, fallback)
    if block.beyond(SECTOR_SIZE, fallback):
        moved = _move_to_front(directory_fd, file_name, path, block, fallback)
        how = how if moved == "unchanged" or how == "replaced" else moved
    data, placed = _look(directory_fd, file_name, path)
    remaining = (*diagnose(data, names), *placed)
    known = {line.name for line in saved.lines} - set(taken)
    kept = {name: value for name, value in block.items() if name in known}
    lost = (*saved.lost, *(f"{shown(line.raw)}: there is no room for it" for line in made_way(saved, block, taken)))
    used = {name: fallback[name] for name in taken}
    spared = tuple(name for name in fallback if name in saved.read_by_grub)
    if not saved.lost or taken or fallback.keys() <= kept.keys():
        spared = ()
    restored = tuple(name for name in kept if name not in saved.read_by_grub)
    return Repair(path, found, remaining, how, copy, kept, used, lost, saved.unsure, spared, restored)


def _look(directory_fd: int, file_name: str, path: str) -> tuple[bytes, list[Damage]]:
    """Return the file's bytes, and what is wrong with where they lie; an absent file is an empty one."""
    data = read_at(directory_fd, file_name, path)
    if data is None:
        return b"", []
    return data, examine_file(directory_fd, file_name, path, data)[0]


def _write(directory_fd: int, file_name: str, path: str, data: bytes, block: EnvBlock, fallback: dict[str, str]) -> str:
    """Write the block in place if that can be done and interrupted safely, else as a new file."""
    now, placed = _look(directory_fd, file_name, path)
    if now != data:
        raise _changed()
    steps = in_place(data, block, fallback) if len(data) == block.size else None
    if steps is None or _wants_new_file(placed):
        replace_file(directory_fd, file_name, block.build(), path)
        return "replaced"
    return _overwrite(directory_fd, file_name, path, steps, data)


def _wants_new_file(placed: Iterable[Damage]) -> bool:
    """Tell whether a new file helps. Where GRUB can't write at all it does not, and each repair would make another."""
    words = {damage.word for damage in placed}
    return "sparse" in words or ("unusual-extent" in words and "file-system" not in words)


def _move_to_front(directory_fd: int, file_name: str, path: str, block: EnvBlock, names: Iterable[str]) -> str:
    """Move the names into the first sector of a sound block, if there is a safe way."""
    data = block.build()
    try:
        steps = plan(data, block, names)
    except NotAtomicError:
        return "unchanged"
    return _overwrite(directory_fd, file_name, path, steps, data)


def _overwrite(directory_fd: int, file_name: str, path: str, steps: list[Step], data: bytes) -> str:
    with Storage(directory_fd, file_name, path) as storage:
        storage.flush()
        if storage.read() != data:
            raise _changed()
        return carry_out(storage, steps, data)


def _changed() -> StorageError:
    return StorageError("it changed while it was repaired, by a program that takes no lock", verb="repair")


def _force_down(directory_fd: int, file_name: str, path: str) -> None:
    """Flush the file and its directory, and with them the journal; then have the journal written back."""
    with Storage(directory_fd, file_name, path) as storage:
        storage.flush()
    try:
        os.fsync(directory_fd)
    except OSError as exc:
        raise from_os_error(exc, "repair", path) from exc
    if debug.tell:
        debug.tell("flush %s", debug.place(directory_fd))
    write_back_journal(directory_fd)


def _keep_copy(directory_fd: int, file_name: str, data: bytes, path: str) -> str:
    """Write the bytes to a file beside the block, durably, and return its path; an equal copy is used again."""
    copy = ""
    for number in range(_MOST_COPIES):
        copy = f"{file_name}{COPY_SUFFIX}{number or ''}"
        try:
            # A pipe of that name keeps nobody waiting, and of a large file no more is read than could be equal.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with open(os.open(copy, flags, dir_fd=directory_fd), "rb") as file:
                if file.read(len(data) + 1) == data:
                    return os.path.join(os.path.dirname(path), copy)
        except FileNotFoundError:
            break
        except OSError:
            continue  # a link, a directory, a socket: not a copy, and it stays
    replace_file(directory_fd, copy, data, path)
    return os.path.join(os.path.dirname(path), copy)
