"""A file of a release while it is written: counted, hashed, and flushed at its end."""

import hashlib
import os
from contextlib import suppress
from typing import Self

from manageboot import errors
from manageboot.release.description import File


class OutFile:
    """A new file; a context manager that closes it."""

    def __init__(self, path: str) -> None:
        """Make the file.

        Raises:
            CreateError, NotPermittedError, DeviceError: it can't be made.
        """
        self.path = path
        self.size = 0
        self._sha256 = hashlib.sha256()
        try:
            self._file = open(path, "xb")  # noqa: SIM115  closed by __exit__
            # A web server has to read it, whatever the umask is.
            os.fchmod(self._file.fileno(), 0o644)
        except OSError as error:
            raise errors.from_os_error(error, f"make {path}", errors.CreateError) from error

    def write(self, data: bytes) -> int:
        """Append some bytes.

        Raises:
            DeviceError, NotPermittedError: writing failed.
        """
        try:
            self._file.write(data)
        except OSError as error:
            raise self._error(error) from error
        self.size += len(data)
        self._sha256.update(data)
        return len(data)

    def finish(self) -> File:
        """Flush the file, and tell what it is.

        Raises:
            DeviceError, NotPermittedError: that failed.

        Durability: once it returns, the content is on the disk; its name is not.
        """
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._error(error) from error
        return File(self.size, self._sha256.hexdigest())

    def _error(self, error: OSError) -> errors.ManagebootError:
        return errors.from_os_error(error, f"write {self.path} at {self.size}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # What counts was flushed; a disk that is full fails once more here, and would hide the first error.
        with suppress(OSError):
            self._file.close()
