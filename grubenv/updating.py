"""Changing an environment block in a file so that a power cut leaves the old state or the new one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from grubenv.block import EnvBlock
from grubenv.errors import (
    AbsentError,
    CannotCreateError,
    DamagedError,
    GrubEnvError,
    NotAtomicError,
    from_os_error,
)
from grubenv.file import read_bytes
from grubenv.place import Inside, place_name, require_regular, resolve
from grubenv.view import DEFAULT_SIZE, SECTOR_SIZE
from grubenv.writing.inside import InsideStorage
from grubenv.writing.lock import locked_directory
from grubenv.writing.plan import plan
from grubenv.writing.replace import replace_file
from grubenv.writing.storage import Storage, carry_out

if TYPE_CHECKING:
    from grubenv.place import Path

DEFAULT_TIMEOUT_S = 10.0


class Outcome(NamedTuple):
    """What a change did."""

    before: dict[str, str]
    """The variables before; empty where there was no readable block."""
    after: dict[str, str]
    """The variables that the disk now holds."""
    changed: bool
    """Whether anything had to be written."""
    how: str
    """`unchanged`, `direct` (in place, past the cache), `buffered` (in place) or `replaced` (by a new file)."""
    used: int
    """Bytes before the padding. Beyond 512, a write of GRUB's own can tear."""
    beyond_first_sector: tuple[str, ...]
    """The names that do not end within the first 512 bytes."""


def update(
    path: Path | Inside,
    set: Mapping[str, str] | None = None,  # noqa: A002 the word of grub-editenv
    unset: Iterable[str] = (),
    *,
    create_missing: bool = False,
    follow_link: bool = True,
    required_in_first_sector: Iterable[str] = (),
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Outcome:
    """Set and unset variables of the block in the file, all of them or none.

    What GRUB wrote is forced down first; then the changed sector is overwritten in place, flushed, and read
    back past the cache. Nothing is written when nothing changes.

    Args:
        set: names and their new values, surrogate escapes standing for bytes that are not UTF-8.
        unset: names to remove, if they are there.
        create_missing: make a block of 1024 bytes where there is no file or one of 0 bytes; without effect on `Inside`.
        follow_link: False: a symbolic link in the place of the file is refused, wherever it leads.
        required_in_first_sector: names that have to end within the first 512 bytes afterwards, if they are set.
            They are moved there if they are not, in steps that are each as safe as the change itself.
        timeout_s: seconds to wait for another writer.

    Raises:
        AbsentError: there is no file, and `create_missing` is not given.
        BadNameError, BadValueError, NoRoomError, NotAtomicError: refused, nothing was written.
        DamagedError: the block is not sound, nothing was written.
        FlushError: final; `now` of the error says what the disk holds, as far as it can be known.
        LockedError, NotPermittedError, NotRegularError, CannotCreateError, StorageError: see their docstrings.

    Durability: on return the new state is on the disk. Cut at any instant, the block reads as before or as after.
    """
    removed = tuple(unset)
    required = tuple(required_in_first_sector)
    name = place_name(path)
    try:
        if isinstance(path, Inside):
            with InsideStorage(path, timeout_s) as storage:
                return _change(storage, set, removed, required)
        directory, file_name = resolve(path, follow_link=follow_link)
        with locked_directory(directory, timeout_s, name) as directory_fd:
            if create_missing and _is_empty(directory_fd, file_name, name):
                block = EnvBlock.create().update(set, removed)
                replace_file(directory_fd, file_name, block.build(), name)
                return _outcome({}, block, "replaced")
            with Storage(directory_fd, file_name, name) as storage:
                return _change(storage, set, removed, required)
    except GrubEnvError as error:
        raise error.at("update", name)  # noqa: B904 the same error, with its place
    except OSError as exc:
        raise from_os_error(exc, "update", name) from exc


def rehearse(
    path: Path | Inside,
    set: Mapping[str, str] | None = None,  # noqa: A002 the word of grub-editenv
    unset: Iterable[str] = (),
    *,
    required_in_first_sector: Iterable[str] = (),
) -> EnvBlock:
    """Raise what `update` with `create_missing` would raise for the block as it is. Writes nothing, takes no lock.

    Returns:
        The block that there would be.

    Raises:
        BadNameError, BadValueError, NoRoomError, NotAtomicError, DamagedError: `update` would say the same.
        NotPermittedError, NotRegularError, StorageError: the file can't be read.
    """
    name = place_name(path)
    try:
        try:
            old = read_bytes(path)
        except AbsentError:
            old = b""
        if not old:
            return EnvBlock.create().update(set, unset)
        new = EnvBlock.parse(old).update(set, unset)
        plan(old, new, required_in_first_sector)
        return new
    except GrubEnvError as error:
        raise error.at("update", name)  # noqa: B904 the same error, with its place
    except OSError as exc:
        raise from_os_error(exc, "update", name) from exc


def create(
    path: Path, *, size: int = DEFAULT_SIZE, follow_link: bool = True, timeout_s: float = DEFAULT_TIMEOUT_S
) -> Outcome:
    """Make the file hold an empty block, whatever it held before.

    A sound block of the same size is emptied in place, where GRUB sees it at once; anything else is replaced by
    a new file with the owner, mode and extended attributes of the old one.

    Args:
        size: bytes, at least 26; GRUB's own tools make 1024.
        follow_link: False: a symbolic link in the place of the file is refused, wherever it leads.

    Raises:
        NoRoomError: `size` is too small.
        CannotCreateError: the new file cannot be made; what was there is unchanged.
        FlushError, LockedError, NotPermittedError, NotRegularError, StorageError: see their docstrings.

    Durability: as `update`; where the file was replaced and the file system has a journal that GRUB does not
    replay, GRUB may read the old file until the system has written its journal back.
    """
    new = EnvBlock.create(size)
    name = os.fspath(path)
    try:
        directory, file_name = resolve(path, follow_link=follow_link)
        with locked_directory(directory, timeout_s, name) as directory_fd:
            try:
                with Storage(directory_fd, file_name, name) as storage:
                    storage.flush()
                    old = storage.read()
                    before = dict(EnvBlock.parse(old))
                    return _outcome(before, new, carry_out(storage, plan(old, new), old))
            except (AbsentError, DamagedError, NotAtomicError):
                replace_file(directory_fd, file_name, new.build(), name)
                return _outcome({}, new, "replaced")
    except AbsentError as error:
        raise CannotCreateError(error.cause, verb="create", path=name) from error
    except GrubEnvError as error:
        raise error.at("create", name)  # noqa: B904 the same error, with its place
    except OSError as exc:
        raise from_os_error(exc, "create", name) from exc


def _change(
    storage: Storage, changed: Mapping[str, str] | None, removed: tuple[str, ...], required: tuple[str, ...]
) -> Outcome:
    storage.flush()
    old = storage.read()
    block = EnvBlock.parse(old)
    new = block.update(changed, removed)
    steps = plan(old, new, required)
    how = carry_out(storage, steps, old)
    return _outcome(dict(block), EnvBlock.parse(steps[-1].image) if steps else block, how)


def _is_empty(directory_fd: int, file_name: str, path: str) -> bool:
    try:
        status = os.stat(file_name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return True
    except OSError as exc:
        raise from_os_error(exc, "update", path) from exc
    require_regular(status, "update", path)
    return status.st_size == 0


def _outcome(before: dict[str, str], block: EnvBlock, how: str) -> Outcome:
    return Outcome(before, dict(block), how != "unchanged", how, block.used, block.beyond(SECTOR_SIZE, block))
