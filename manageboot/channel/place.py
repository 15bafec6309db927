"""A place that releases are read from. What it gives may be anything: whoever asks verifies it."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from manageboot.fetch.mirrors import Traffic

Judge = Callable[[bytes], object]
"""Looks at a file; raises ReleaseDigestError where it is not the right one."""


class Needed(Protocol):
    """Which stored frames of a pack are needed, and what they have to be."""

    def judge(self, offset: int, stored: bytes) -> None:
        """Make sure that what a place gave at an offset is the frame that belongs there.

        Raises:
            ReleaseDigestError: it is not.
        """
        ...

    def end(self, offset: int) -> int:
        """Return where the frames end that are needed from an offset on, without a gap."""
        ...


class Pack(Protocol):
    """A file that is read in pieces; a context manager that closes it."""

    def read(self, offset: int, size: int) -> bytes:
        """Return the bytes at an offset; fewer where the file ends."""
        ...

    def cancel(self) -> None:
        """Make a read that waits fail, and all that follow; any thread may ask."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Place(Protocol):
    """Where releases are: a directory, or the mirrors of a network."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether what it gives is worth having only once."""
        ...

    @property
    def giver(self) -> str:
        """Who gave the last file: the place itself, or one of its mirrors."""
        ...

    def read(
        self,
        path: str,
        limit_bytes: int,
        *,
        judge: Judge | None = None,
        size: int | None = None,
        may_lack: bool = False,
    ) -> bytes:
        """Read a whole file.

        Args:
            path: where it is in the place.
            limit_bytes: nobody would publish a longer one.
            judge: looks at it; where there are mirrors, the first file counts that it lets pass.
            size: in bytes, where it is known.
            may_lack: it need not be there, so one mirror that has none is asked in vain, and no more of them.

        Raises:
            InputError, FetchError: there is no such file, or it can't be had.
            ReleaseDigestError: it is longer than it may be, or the only one there is is wrong.
        """
        ...

    def look(self, path: str, limit_bytes: int) -> bytes:
        """Read a small file that nothing depends on: whoever does not deliver it is none the worse for that.

        Raises:
            InputError, FetchError: there is no such file, or it can't be had within a minute.
            ReleaseDigestError: it is longer than it may be.
        """
        ...

    def go_on(self, cause: str) -> bool:
        """Leave out whoever gave the last file, which was wrong; tell whether there is somebody else to ask."""
        ...

    def open(self, path: str, needed: Needed, *, aside: bool = False) -> Pack:
        """Open a pack, to read frames of it.

        Args:
            path: where it is in the place.
            needed: what of it is needed.
            aside: another pack is read at the same time, and is not to be held up.

        Raises:
            InputError: there is no such file.
        """
        ...

    def traffic(self) -> "tuple[Traffic, ...]":
        """Return what went to and came from each mirror so far; a directory has none."""
        ...

    def close(self) -> None:
        """Let go of what it holds; any number of times."""
        ...
