"""Reading an environment block from a file: no lock, no write permission, no trace."""

from __future__ import annotations

import os

from grubenv import view
from grubenv.errors import DamagedError, StorageError, from_os_error
from grubenv.place import Inside, impossible_path, place_name, pread_all, require_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from grubenv.block import EnvBlock
    from grubenv.place import Path

DEFAULT_PATH = "/boot/grub/grubenv"
_STABLE_READ_TRIES = 100


def query(path: Path | Inside) -> dict[str, str]:
    """Return the variables that GRUB's `load_env` finds in the file, quickly and as leniently as GRUB does.

    Raises:
        AbsentError, NotRegularError, NotPermittedError, StorageError: the file cannot be read.
        DamagedError: GRUB refuses the block as a whole.

    Durability: what is returned may still sit in the drive's cache, GRUB's own last write included; `update`
    forces it down before it relies on it.

    Source: GRUB grub-core/commands/loadenv.c.
    """
    try:
        return view.variables(read_bytes(path))
    except DamagedError as error:
        raise error.at("read", place_name(path)) from None


def read(path: Path | Inside) -> EnvBlock:
    """Return the block in the file, read strictly: see `EnvBlock.parse`.

    Raises:
        AbsentError, NotRegularError, NotPermittedError, StorageError: the file cannot be read.
        DamagedError: with every damage and its offset.
    """
    from grubenv.block import EnvBlock  # construct takes 40 ms to import

    try:
        return EnvBlock.parse(read_bytes(path))
    except DamagedError as error:
        raise error.at("read", place_name(path)) from None


def read_bytes(path: Path | Inside) -> bytes:
    """Return the file's bytes as they are at one instant, also while `update` writes. Symbolic links are followed.

    Raises:
        AbsentError, NotRegularError, NotPermittedError, StorageError: the file cannot be read.
    """
    if isinstance(path, Inside):
        from grubenv.writing.inside import read_inside  # seldom needed, and a query would wait for it

        return read_inside(path)
    name = os.fspath(path)
    try:
        return _read(name, os.stat(name), 0, None, name)
    except OSError as exc:
        raise from_os_error(exc, "read", name) from exc
    except ValueError as exc:
        raise impossible_path(name, exc) from exc


def read_at(directory_fd: int, name: str, path: str) -> bytes | None:
    """Return the bytes of the file `name` in the open directory, and None only where it has no such file.

    That is asked through the descriptor: a longer way to the file may be missing while the file is there.

    Args:
        path: the file to name in errors.

    Raises:
        AbsentError, NotRegularError, NotPermittedError, StorageError: it is there, and can't be read.
    """
    try:
        try:
            status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return _read(name, status, os.O_NOFOLLOW, directory_fd, path)
    except OSError as exc:
        raise from_os_error(exc, "read", path) from exc


def _read(name: str, status: os.stat_result, flags: int, directory_fd: int | None, path: str) -> bytes:
    # Only a regular file is opened: a pipe would wait, and a device may do something.
    require_regular(status, "read", path)
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | flags, dir_fd=directory_fd)
    try:
        require_regular(os.fstat(descriptor), "read", path)
        return _read_stable(descriptor, path)
    finally:
        os.close(descriptor)


def _read_stable(descriptor: int, path: str) -> bytes:
    """Read until two readings agree: a buffered read is not atomic against a buffered write."""
    last = pread_all(descriptor)
    for _ in range(_STABLE_READ_TRIES):
        again = pread_all(descriptor)
        if again == last:
            return last
        last = again
    raise StorageError(f"it changed during each of {_STABLE_READ_TRIES} readings", verb="read", path=path)
