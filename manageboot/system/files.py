"""Files: whether one is there; and small ones of ours, read as if anybody had written them, and replaced as a whole.

What lies in /run, or where the records are, may be of another version or of another hand, and need not be a file at
all. Nobody waits for it, and what it holds is taken only where it can be meant.
"""

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any, NoReturn

from manageboot import errors
from manageboot.system import console

TIME_MAX = 253402300799
"""The end of the year 9999, in seconds since 1970: what is later can be neither meant nor written down."""


def is_there(path: str, otherwise: type[errors.ManagebootError] = errors.InputError) -> bool:
    """Say whether there is a file, symbolic links followed.

    Args:
        path: the file.
        otherwise: the class of error for causes that say nothing special.

    Raises:
        NotPermittedError, DeviceError, or `otherwise`: that can't be told.
    """
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise errors.from_os_error(error, f"look for {path}", otherwise) from error
    return True


def absolute(path: str) -> str:
    """Make a path absolute; links stay.

    Raises:
        InputError: there is no current directory any more.
    """
    try:
        return os.path.abspath(path)
    except OSError as error:
        raise errors.from_os_error(error, f"find {path}", errors.InputError) from error


def broken_link(path: str) -> str | None:
    """Return the link that leads nowhere, in the place of a file or on the way to it; None: there is none."""
    parts = path.split("/")
    places = ("/".join(parts[:count]) for count in range(2, len(parts) + 1))
    return next((place for place in places if os.path.islink(place) and not os.path.exists(place)), None)


def read(path: str, limit_bytes: int, *, ours: bool = False) -> bytes:
    """Read a file to its end.

    Args:
        path: the file; a link is followed.
        limit_bytes: a longer one is refused.
        ours: whether it has to be root's, or that of who reads it.

    Raises:
        OSError: it is not there, or can't be read.
        ValueError: it is not a regular file, too long, or somebody else's.
    """
    # First, because to open a device does something to some.
    _check(os.stat(path), ours=ours)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        _check(os.fstat(descriptor), ours=ours)
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise ValueError(f"it is longer than {limit_bytes} bytes")
    return content


def parse(content: bytes) -> Any:
    """Read JSON, without what Python alone takes for it, and without a key that is there twice.

    Raises:
        ValueError: it is something else, or so deep that nobody means it.
    """
    import json

    try:
        return json.loads(content.decode(), parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def is_number(value: object) -> bool:
    """Say whether a value from JSON is a number of seconds or bytes that there can be, or none."""
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 53


def replace(path: str, content: bytes, *, durable: bool = False) -> None:
    """Replace a file as a whole: a reader sees the old one or the new one. All may read it, whatever the umask is.

    Args:
        path: the file; a link in its place is replaced, not followed.
        content: what it holds then.
        durable: whether it has to survive a power cut.

    Raises:
        OSError: it can't be replaced. The old file is still there, unless one of the last flushes failed.
        ReadBackError: the disk does not hold what was written; the old file is still there.

    Durability: with `durable`, once it returns, the new file is on the disk and was read back past the page cache; cut
    before, the old file is there or the new one. Without, a power cut may leave neither.
    """
    temporary = f"{path}.new"
    with ExitStack() as stack:
        try:
            if durable:
                _hold(path, stack)
            file = stack.enter_context(open(_create(temporary), "w+b"))
            file.write(content)
            file.flush()
            if durable:
                _settle(file.fileno(), path, content)
            if console.debug:
                how = ", flushed, read back" if durable else ""
                console.debug("write %s at 0, %d bytes%s", temporary, len(content), how)
            os.rename(temporary, path)
            if console.debug:
                console.debug("rename %s to %s", temporary, path)
        except (OSError, errors.ReadBackError):
            with suppress(OSError):
                os.unlink(temporary)
            raise
        if durable:
            os.fsync(file.fileno())  # vfat keeps size and place in the entry, and fills the new one only now
            flush_directory(os.path.dirname(path))


def put_in_place(directory: str, path: str) -> None:
    """Give a finished directory the name under which others look for it, unless something has that name.

    Args:
        directory: what it is called until then, on the same file system; its files have been flushed.
        path: its name.

    Raises:
        CreateError, NotPermittedError, DeviceError: it is not in place.

    Durability: once it returns, the directory is on the disk with all its files; cut before, it has either name.
    """
    try:
        flush_directory(directory)
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        os.rename(directory, path)
        flush_directory(os.path.dirname(path) or ".")
    except OSError as error:
        raise errors.from_os_error(error, f"make {path}", errors.CreateError) from error


def take_over(spare: str, path: str) -> None:
    """Give a file that is not needed any more another name, to be written over there: what it holds has its pages.

    Args:
        spare: the file.
        path: its new name; a file of that name is gone then.

    Raises:
        OSError: it could not be done.

    Durability: none; whoever reads such a file has to tell by itself whether it was written.
    """
    os.rename(spare, path)


def flush_directory(path: str) -> None:
    """Force down which names a directory has.

    Raises:
        OSError: that failed.

    Durability: once it returns, files that were made, renamed or removed in it before stay so.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        if console.debug:
            console.debug("flush %s", path)
    finally:
        os.close(descriptor)


def _hold(path: str, stack: ExitStack) -> None:
    """Open the file that is replaced: vfat gives its clusters away when nobody has it, and the name may lead there."""
    with suppress(OSError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        stack.callback(os.close, descriptor)


def _create(path: str) -> int:
    # What a run that was killed, or somebody else, has left there is not opened: a pipe would wait for ever.
    with suppress(FileNotFoundError):
        os.unlink(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    # The umask does not count. vfat has no modes.
    with suppress(OSError):
        os.fchmod(descriptor, 0o644)
    return descriptor


def _settle(descriptor: int, path: str, content: bytes) -> None:
    """Flush a file, and read it back: what was flushed can be dropped from the page cache."""
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    if os.pread(descriptor, len(content) + 1, 0) != content:
        raise errors.ReadBackError(f"cannot write {path}: the disk does not hold what was written")


def _check(status: os.stat_result, *, ours: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    if ours and status.st_uid not in {0, os.geteuid()}:
        raise ValueError(f"it belongs to user {status.st_uid}")


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise ValueError(f"{text} is too large a number")
    return value


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found
