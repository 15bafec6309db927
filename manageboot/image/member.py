"""One image of an update image: its bytes in order, and where its holes are."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from manageboot.disk.buffer import aligned_buffer
from manageboot.disk.digest import WINDOW_BYTES, ImageDigest
from manageboot.errors import ManagebootError
from manageboot.image.content import HEAD_BYTES
from manageboot.image.sparse import SparseMap

BOOT, ROOT, VERSION = "boot.img", "root.img", "VERSION.TXT"


def member_name(role: str) -> str:
    """Return the name of the member that is written to the devices of a role."""
    return f"{role}.img"


_Error = TypeVar("_Error", bound=ManagebootError)


class MakeError(Protocol):
    """Makes the error that names the input."""

    def __call__(self, kind: type[_Error], cause: str, *, hint: str | None = None) -> _Error:
        """Make an error of a kind from its cause and a hint."""
        ...


_ZEROS = bytes(128 * 1024)  # small enough to stay in the processor's cache

# Fills a window with the data at an offset of the image; data is asked for once, and in order.
ReadData = Callable[[memoryview, int], None]

Fill = Callable[[], bytes]
"""Fills a window, and returns its SHA-256, with which it was compared; any thread may call it, once."""
Prepare = Callable[[], Fill]
"""Reads what a window needs. Those of one update image are called once, in order, and by one thread at a time."""
PrepareData = Callable[[memoryview, int], Prepare]
"""Says how the window at an offset of the image gets into a buffer, which has room for whole blocks of 4 KiB."""


class Member:
    """A member of an update image, read from its start to its end."""

    def __init__(
        self,
        name: str,
        extents: SparseMap,
        read_data: ReadData,
        error: MakeError,
        *,
        file: tuple[int, int] | None = None,
        later: PrepareData | None = None,
    ) -> None:
        """Read an image whose data lies where the map says.

        Args:
            name: "boot.img", "root.img", that of another role, or "VERSION.TXT".
            extents: where its data lies.
            read_data: gives the data.
            error: makes an error that names the input.
            file: device and inode of the file, where the image is all of one.
            later: how a window is had that is not read at once; each extent is of whole windows then.
        """
        self.name = name
        self.size = extents.size  # bytes, holes included
        self.data_size = extents.data_size  # bytes
        self.error = error
        self.file = file
        self._extents = extents
        self._read_data = read_data
        self._later = later
        self._head = b""
        self._position = 0
        self._next = 0  # extent that ends after the position

    @property
    def head(self) -> bytes:
        """The first content.HEAD_BYTES of the image, or all of it where it is shorter; to be asked for first.

        Reading the image gives them once more. What is not longer may even be read after the next member came.
        """
        if not self._head:
            head = bytearray(min(self.size, HEAD_BYTES))
            self._fill(memoryview(head), 0)
            self._next = 0
            self._head = bytes(head)
        return self._head

    def skip_hole(self, unit: int) -> int:
        """Step over as many whole units of a hole as come next.

        Args:
            unit: in bytes; only the image's last one may be shorter.

        Returns:
            How many bytes were stepped over; 0 if the next unit holds data, or the image has ended.
        """
        starts = self._extents.starts
        end = starts[self._next] if self._next < len(starts) else self.size
        hole = max(end - self._position, 0)
        if end < self.size:
            hole -= hole % unit
        self._position += hole
        return hole

    def later(self, buffer: memoryview, length: int) -> Prepare | None:
        """Take the next window of the image, at a multiple of WINDOW_BYTES.

        Args:
            buffer: where it goes, WINDOW_BYTES long.
            length: of the window in bytes, not more than what is left of the image.

        Returns:
            What fills the buffer later; None: it is filled.

        Raises:
            DataError, DeviceError: as `readinto`.
        """
        if self._later is None:
            self.readinto(buffer[:length])
            return None
        begin, self._position = self._position, self._position + length
        while self._next < len(self._extents.ends) and self._extents.ends[self._next] <= self._position:
            self._next += 1
        return self._later(buffer, begin)

    def readinto(self, window: memoryview) -> None:
        """Fill the window with the next bytes of the image, zeros where there are holes.

        Args:
            window: of any size, but not longer than what is left of the image.

        Raises:
            DataError: the update image is bad or ends too early.
            DeviceError: reading failed.
            ValueError: the window is longer than what is left.
        """
        begin, end = self._position, self._position + len(window)
        if end > self.size:
            message = f"{self.name} has {self.size - begin} bytes left, {len(window)} were asked for"
            raise ValueError(message)
        self._position = end
        known = self._head[begin:end]
        window[: len(known)] = known
        begin += len(known)
        while self._next < len(self._extents.ends) and self._extents.ends[self._next] <= begin:
            self._next += 1
        self._fill(window[len(known) :], begin)

    def digest(self, report: Callable[[], None] | None = None) -> ImageDigest:
        """Read all of it that has not been read, without its holes.

        Args:
            report: is called after each window.

        Raises:
            DataError, DeviceError: as `readinto`.
        """
        digest = ImageDigest()
        buffer = memoryview(aligned_buffer(WINDOW_BYTES))
        offset = 0
        while (offset := offset + self.skip_hole(WINDOW_BYTES)) < self.size:
            window = buffer[: min(WINDOW_BYTES, self.size - offset)]
            self.readinto(window)
            digest.add(offset, window)
            offset += len(window)
            if report is not None:
                report()
        return digest

    def _fill(self, window: memoryview, begin: int) -> None:
        """Fill a window with what stands at an offset of the image, none of which was read yet."""
        starts, ends = self._extents.starts, self._extents.ends
        end = begin + len(window)
        at = begin
        while self._next < len(starts) and (start := starts[self._next]) < end:
            if start > at:
                _clear(window[at - begin : start - begin])
                at = start
            stop = min(ends[self._next], end)
            self._read_data(window[at - begin : stop - begin], at)
            at = stop
            if ends[self._next] > end:
                break
            self._next += 1
        _clear(window[at - begin :])


def _clear(window: memoryview) -> None:
    for at in range(0, len(window), len(_ZEROS)):
        part = window[at : at + len(_ZEROS)]
        part[:] = _ZEROS[: len(part)]
