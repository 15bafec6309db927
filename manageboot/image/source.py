"""The input of an installation as a stream of bytes: a file, a pipe, standard input or a URL, counted and hashed.

A thread of its own reads ahead and hashes, so that both go on while the reader decompresses; the system calls and the
hash release the interpreter lock. What is read ahead is bounded, and nothing here seeks.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import queue
import select
import stat
import threading
from typing import Protocol, TypeVar

from manageboot.errors import (
    DeviceError,
    ImageFormatError,
    ImageTruncatedError,
    InputError,
    ManagebootError,
    from_os_error,
)

CHUNK_SIZE = 512 * 1024  # bytes in one piece; a multiple of any page size
READ_AHEAD = 4  # pieces
PIPE_SIZE = 1 << 20  # bytes; the most that an ordinary user may ask for
STDIN = "-"
URL_BEGINS = ("http://", "https://")

_Error = TypeVar("_Error", bound=ManagebootError)

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a pipe",
}


def kind_of(mode: int) -> str:
    """Name the kind of a file that is not a regular one, from its st_mode."""
    return _KINDS.get(stat.S_IFMT(mode), "not a regular file")


def open_input(path: str, *, wait: bool = True) -> tuple[int, os.stat_result]:
    """Open a path for reading.

    Args:
        path: where it is; `-` for standard input.
        wait: whether to wait, at a named pipe, for somebody who writes.

    Returns:
        A descriptor that the caller closes, and the status of what it refers to.

    Raises:
        InputError: there is nothing to read at the path.
        NotPermittedError: the caller may not read it.
    """
    flags = 0 if wait else os.O_NONBLOCK
    try:
        fd = os.dup(0) if path == STDIN else os.open(path, os.O_RDONLY | os.O_NOCTTY | flags)
    except OSError as error:
        raise from_os_error(error, f"open {display_name(path)}", InputError) from error
    return fd, os.fstat(fd)


def is_url(path: str) -> bool:
    """Tell whether an input is to be fetched."""
    return path.startswith(URL_BEGINS)


def without_query(path: str) -> str:
    """Return a path, or a URL without what follows a question mark: that may be a password, and is never shown."""
    return path.partition("?")[0] if is_url(path) else path


def display_name(path: str) -> str:
    """Call an input what its user calls it."""
    return "standard input" if path == STDIN else without_query(path)


def _widen(fd: int) -> None:
    """Let a pipe hold more than the usual 64 KiB, so that its two ends wake each other less often."""
    with contextlib.suppress(OSError):  # a socket, or more than the user may have
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_SIZE)


class Input(Protocol):
    """Where the bytes come from. One thread reads, and any other may end that."""

    name: str

    @property
    def total(self) -> int | None:
        """How many bytes there are, as far as it is known; it may be known only after the first read."""

    def read(self, size: int) -> bytes:
        """Return so many bytes; less is the end.

        Raises:
            ManagebootError, OSError: they can't be had, or somebody has ended it.
        """

    def check_end(self, size: int) -> None:
        """Refuse an end that is none, after so many bytes.

        Raises:
            DataError: there were more, or they are not those of one file.
        """

    def end(self) -> None:
        """Make a read fail that waits, and all that follow."""

    def close(self) -> None:
        """Close it, once nobody reads any more."""


class FileInput:
    """A file, a pipe or standard input."""

    def __init__(self, path: str) -> None:
        """Open it.

        Args:
            path: a regular file or a named pipe, or `-` for standard input, which may be a socket too.

        Raises:
            InputError: it can't be opened, or is of a kind that is no stream of bytes.
            NotPermittedError: the caller may not read it.
        """
        self.name = display_name(path)
        self._fd, status = open_input(path)
        self._status = status
        self._regular = stat.S_ISREG(status.st_mode)
        if not (self._regular or stat.S_ISFIFO(status.st_mode) or (path == STDIN and stat.S_ISSOCK(status.st_mode))):
            os.close(self._fd)
            message = f"cannot open {self.name}: it is {kind_of(status.st_mode)}"
            raise InputError(message)
        self.total: int | None = None
        if self._regular:  # standard input may be a file that somebody has begun to read
            self.total = max(status.st_size - os.lseek(self._fd, 0, os.SEEK_CUR), 0)
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        else:
            _widen(self._fd)
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._poll.register(self._stop, select.POLLIN)

    def read(self, size: int) -> bytes:
        """Read so many bytes; less is the end of the input, or somebody ends it."""
        parts: list[bytes] = []
        missing = size
        while missing and (part := self._read_some(missing)):
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def check_end(self, size: int) -> None:
        """Refuse a file that has shrunk, or was changed, since it was opened.

        Raises:
            ImageTruncatedError, ImageFormatError: it was.
        """
        if self.total is not None and size < self.total:
            cause = f"it shrank from {self.total} to {size} bytes while it was read"
            raise ImageTruncatedError(f"cannot read {self.name}: {cause}")
        if self._has_changed():
            raise ImageFormatError(f"cannot read {self.name}: it was changed while it was read")

    def end(self) -> None:
        """Make a read fail that waits."""
        os.eventfd_write(self._stop, 1)

    def close(self) -> None:
        """Close it, once nobody reads any more."""
        os.close(self._fd)
        os.close(self._stop)

    def _has_changed(self) -> bool:
        """Tell whether somebody wrote into the file since it was opened: what was read may then be of two files."""
        now = os.fstat(self._fd)
        return self._regular and (now.st_size, now.st_mtime_ns) != (self._status.st_size, self._status.st_mtime_ns)

    def _read_some(self, size: int) -> bytes:
        if self._regular:
            return os.read(self._fd, size)
        while True:
            if any(fd == self._stop for fd, _ in self._poll.poll()):
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            try:
                return os.read(self._fd, size)
            except BlockingIOError:  # another reader of the same pipe was faster
                continue


class Source:
    """The bytes of one input, in order, each of them counted and hashed."""

    def __init__(self, path: str | Input) -> None:
        """Open the input; reading begins with the first peek() or read().

        Args:
            path: what FileInput takes, or an input, which this closes.

        Raises:
            InputError, NotPermittedError: a path can't be opened.
        """
        self._input = FileInput(path) if isinstance(path, str) else path
        self.name = self._input.name
        self.consumed = 0  # bytes that read() has given away
        self._hash = hashlib.sha256()
        self._first: bytes | None = None
        self._ended = False
        self._ready: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
        self._free = threading.Semaphore(READ_AHEAD)
        self._closing = threading.Lock()  # whoever gets it closes the input, and keeps it
        self._stopped = False
        self._thread: threading.Thread | None = None

    @property
    def total(self) -> int | None:
        """The size of the whole input; None: it is not known, or not known before the first piece."""
        return self._input.total

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the whole input in hexadecimal; None until its end has been read."""
        return self._hash.hexdigest() if self._ended else None

    def error(self, kind: type[_Error], cause: str, *, hint: str | None = None) -> _Error:
        """Make the error that says why this input can't be read."""
        return kind(f"cannot read {self.name}: {cause}", hint=hint)

    def peek(self) -> bytes:
        """Return the first piece without taking it: CHUNK_SIZE bytes, less only if the input is shorter."""
        if self._first is None:
            self._first = self._next()
        return self._first

    def read(self, _size: int = -1) -> bytes:
        """Return the next piece, of at most CHUNK_SIZE bytes whatever was asked for; empty at the end.

        Raises:
            DeviceError: reading failed.
            ImageTruncatedError: the file has shrunk since it was opened.
            ImageFormatError: it was changed since then.
            FetchError, FetcherError: it is a URL, and nothing more comes.
        """
        chunk, self._first = (self._next(), None) if self._first is None else (self._first, None)
        self.consumed += len(chunk)
        return chunk

    def close(self) -> None:
        """Stop reading and close the input; a read() in another thread fails.

        Of several who close it, also at once, the first does; the others do not wait for it.
        """
        if not self._closing.acquire(blocking=False):
            return
        self._stopped = True
        self._input.end()
        self._free.release()
        if self._thread is not None:
            self._thread.join()
        self._ready.put(self.error(DeviceError, "it was closed"))
        self._input.close()

    def _next(self) -> bytes:
        if self._ended:
            return b""
        if self._thread is None:
            thread = threading.Thread(target=self._pump, name="manageboot-read", daemon=True)
            thread.start()
            # Only now: a signal that comes before leaves nothing to join.
            self._thread = thread
        item = self._ready.get()
        if isinstance(item, Exception):
            self._ready.put(item)
            raise item
        self._free.release()
        self._ended = not item
        return item

    def _pump(self) -> None:
        """Read and hash to the end, as far ahead as the semaphore allows."""
        total = 0
        while True:
            self._free.acquire()
            if self._stopped:
                return
            try:
                chunk = self._input.read(CHUNK_SIZE)
                self._hash.update(chunk)
                total += len(chunk)
                if not chunk:
                    self._input.check_end(total)
            except OSError as error:
                self._ready.put(from_os_error(error, f"read {self.name} at {total}"))
                return
            except Exception as error:  # noqa: BLE001 whatever it is, who waits for the next piece has to hear of it
                self._ready.put(error)
                return
            self._ready.put(chunk)
            if not chunk:
                return
