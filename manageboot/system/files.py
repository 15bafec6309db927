"""Files: whether one is there; and small ones of ours, read as if anybody had written them, and replaced as a whole.

What lies in /run, or where the records are, may be of another version or of another hand, and need not be a file at
all. Nobody waits for it, and what it holds is taken only where it can be meant.
"""

import math
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from manageboot import errors
from manageboot.system import console


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
        ValueError: it is no regular file, too long, or somebody else's.
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
    """Read JSON, without what Python alone takes for it, and without a key that stands twice.

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


def create(path: str) -> int:
    """Make a new file, whatever lay there, and return its descriptor; all may read it, whatever the umask is.

    Raises:
        OSError: that can't be done.
    """
    # What a run that was killed, or somebody else, has left there is not opened: a pipe would wait for ever.
    with suppress(FileNotFoundError):
        os.unlink(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o644)
    return descriptor


def replace(path: str, content: bytes) -> None:
    """Replace a file as a whole, so that a reader never sees half of it. Nothing of it has to survive a power cut.

    Raises:
        OSError: that can't be done; the old one is still there.
    """
    temporary = f"{path}.new"
    try:
        with open(create(temporary), "wb") as file:
            file.write(content)
        os.rename(temporary, path)
        if console.debug:
            console.debug("write %s at 0, %d bytes, and rename it to %s", temporary, len(content), path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _check(status: os.stat_result, *, ours: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    if ours and status.st_uid not in {0, os.geteuid()}:
        raise ValueError(f"it belongs to user {status.st_uid}")


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number that we know")
    return value


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found
