"""Every error that grubenv raises, each with an exit code, a stable code word and, where there is one, a hint."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import ClassVar, Self


class Damage:
    """Name one thing that is wrong with a block: a stable word, where it is, and a sentence part for people."""

    __slots__ = ("offset", "text", "word")

    def __init__(self, word: str, offset: int | None, text: str) -> None:
        """Describe the damage `word` at byte `offset` (None: it concerns the block as a whole)."""
        self.word = word
        self.offset = offset
        self.text = text

    def __str__(self) -> str:
        return self.text if self.offset is None else f"{self.text} at offset {self.offset}"

    def __repr__(self) -> str:
        return f"Damage({self.word!r}, {self.offset!r}, {self.text!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Damage):
            return NotImplemented
        return (self.word, self.offset, self.text) == (other.word, other.offset, other.text)

    def __hash__(self) -> int:
        return hash((self.word, self.offset, self.text))


class GrubEnvError(Exception):
    """Say what could not be done to what, and why: `cannot VERB OBJECT: CAUSE`.

    `offset` counts bytes from the start of the block.
    """

    exit_code: ClassVar[int] = 70
    code_word: ClassVar[str] = "INTERNAL"
    hint: str = ""

    def __init__(self, cause: str, *, verb: str = "read", path: str | None = None, offset: int | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.verb = verb
        self.path = path
        self.offset = offset

    def __str__(self) -> str:
        place = "" if self.offset is None else f" at offset {self.offset}"
        return f"cannot {self.verb} {self.path or 'environment block'}: {self.cause}{place}"

    def at(self, verb: str, path: str) -> Self:
        """Name the operation and the file, for errors of pure code that knows neither."""
        self.verb = verb
        self.path = path
        return self


class AbsentError(GrubEnvError):
    """The file, or a directory on the way to it, does not exist."""

    exit_code = 66
    code_word = "ABSENT"


class NotRegularError(GrubEnvError):
    """The path leads to something that GRUB would not read as a file: a directory, a device, a pipe."""

    exit_code = 66
    code_word = "NOT_REGULAR"


class DamagedError(GrubEnvError):
    """The bytes are not a valid environment block; `damages` lists everything that was found."""

    exit_code = 65
    code_word = "DAMAGED"
    hint = "`grubenv FILE check` lists every damage, `grubenv FILE repair` mends what can be mended"

    def __init__(self, damages: Iterable[Damage], *, verb: str = "read", path: str | None = None) -> None:
        """Report the first of `damages` in the message and keep all of them."""
        self.damages = tuple(damages)
        first = self.damages[0]
        more = f" (and {len(self.damages) - 1} more)" if len(self.damages) > 1 else ""
        super().__init__(f"{first}{more}", verb=verb, path=path)
        self.offset = first.offset

    def __str__(self) -> str:
        # The first damage has said its offset.
        return f"cannot {self.verb} {self.path or 'environment block'}: {self.cause}"


class BadNameError(GrubEnvError):
    """A variable name that a line of the block cannot hold."""

    exit_code = 2
    code_word = "BAD_NAME"


class BadValueError(GrubEnvError):
    """A value that a line of the block cannot hold: one with a NUL, or text that does not stand for bytes."""

    exit_code = 2
    code_word = "BAD_VALUE"


class NoRoomError(GrubEnvError):
    """The variables do not fit into the block; nothing was written."""

    exit_code = 73
    code_word = "NO_ROOM"
    hint = "unset what is not needed; GRUB cannot make the file larger, and neither does this tool"

    def __init__(self, needed_bytes: int, available_bytes: int) -> None:
        super().__init__(f"no room: {needed_bytes} bytes needed, {available_bytes} available", verb="update")
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes


class NotAtomicError(GrubEnvError):
    """The change would spread over several sectors, and a power cut between them could be read as neither state."""

    exit_code = 73
    code_word = "NOT_ATOMIC"
    hint = "unset or shorten what is not needed, so that all lines fit into the first 512 bytes"


class ContradictionError(GrubEnvError):
    """The kernel command line gives two values to the key that is to tell the slot."""

    exit_code = 65
    code_word = "CONTRADICTION"
    hint = "give NAME=VALUE in place of --from-cmdline"


class ReadingsDifferError(GrubEnvError):
    """The codec and the independent reader disagree about bytes that were about to be written: a bug, not written."""

    exit_code = 70
    code_word = "READINGS_DIFFER"


class LockedError(GrubEnvError):
    """Another process kept the lock for the whole bounded wait; nothing was written."""

    exit_code = 75
    code_word = "LOCKED"
    hint = "try again"


class NotPermittedError(GrubEnvError):
    """The operating system does not allow it."""

    exit_code = 77
    code_word = "NOT_PERMITTED"


class CannotCreateError(GrubEnvError):
    """The new file could not be made; what was there before is unchanged."""

    exit_code = 73
    code_word = "CANNOT_CREATE"


class StorageError(GrubEnvError):
    """Reading or writing failed, or what was read back is not what was written.

    `now` says what a reading past the cache found after the failure, where one was made.
    """

    exit_code = 74
    code_word = "IO"
    now: str = ""


class FlushError(StorageError):
    """A flush failed. It is never retried, as the kernel may have dropped the data and call a second one a success."""

    code_word = "FLUSH_FAILED"
    hint = "the disk may be failing; read the block again after the next boot before relying on it"


_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def reason(exc: OSError) -> str:
    """Return the system's words for the error, to stand inside a sentence."""
    words = os.strerror(exc.errno) if exc.errno else str(exc)
    return words[:1].lower() + words[1:] if words[1:2].islower() else words


def from_os_error(exc: OSError, verb: str, path: str) -> GrubEnvError:
    """Return the typed error for what the operating system said about `path`."""
    cause = reason(exc)
    if exc.errno in _ABSENT:
        return AbsentError(cause, verb=verb, path=path)
    if exc.errno in _PERMISSION:
        return NotPermittedError(cause, verb=verb, path=path)
    return StorageError(cause, verb=verb, path=path)
