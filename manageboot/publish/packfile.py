"""A pack as a file, read in any order."""

import os
from typing import Self

from manageboot import errors


class PackFile:
    """A pack; a context manager that closes it."""

    def __init__(self, path: str) -> None:
        """Open a pack.

        Raises:
            InputError, NotPermittedError: it can't be opened.
        """
        self.path = path
        try:
            self.file = open(path, "rb")  # noqa: SIM115  closed by __exit__
        except OSError as error:
            raise errors.from_os_error(error, f"open {path}", errors.InputError) from error

    def read(self, offset: int, size: int) -> bytes:
        """Return the bytes at an offset; less where the file ends.

        Raises:
            DeviceError: reading failed.
        """
        try:
            return os.pread(self.file.fileno(), size, offset)
        except OSError as error:
            raise errors.from_os_error(error, f"read {self.path} at {offset}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
