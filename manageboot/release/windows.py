"""Windows of the images, put together from the frames of a pack; whoever gets one gets what the index names."""

from collections.abc import Container, Mapping, Sequence
from typing import Protocol

from manageboot import errors
from manageboot.disk.digest import window_digest
from manageboot.release.frames import Unpacker
from manageboot.release.layout import BLOCK_BYTES, Image
from manageboot.release.stored import FrameReader, Frames, ReadStored, Verified
from manageboot.release.unpacked import Dictionaries, Unpacked


class Operation(Protocol):
    """Where some blocks of a window come from, be it of a release or of a delta."""

    @property
    def blocks(self) -> int:
        """How many."""

    @property
    def frame(self) -> int | None:
        """The number of the frame that has them; None: they are in none."""

    @property
    def first(self) -> int:
        """The first of them among the blocks of the frame."""


class Window(Protocol):
    """A window of an image, be it of a release or of a delta."""

    @property
    def number(self) -> int:
        """Its offset in units of WINDOW_BYTES."""

    @property
    def sha256(self) -> bytes:
        """Of its bytes."""

    @property
    def operations(self) -> Sequence[Operation]:
        """They fill it from its first block to its last."""


class OldData(Dictionaries, Protocol):
    """What a delta takes from old images; any thread asks, also several at once. It need not be right."""

    def copy(self, operations: Sequence[Operation], window: memoryview) -> Container[int]:
        """Put what operations copy into their window; return which of them copy, by their numbers."""


Gathered = Mapping[int, Verified]
"""The frames that a window needs, by their numbers."""


class WindowReader:
    """Reads windows, in two steps: one thread gathers what each of them needs, in order; any thread puts them together.

    Windows in order ask for each frame once, but for one with duplicates far back.
    """

    def __init__(self, index: Frames, read: ReadStored, unpacker: Unpacker, old: OldData | None = None) -> None:
        """Read what an index tells of; `read` gives the bytes of the pack, and a delta needs old data."""
        self._old = old
        self._verb = "read" if old is None else "make"
        self._frames = FrameReader(index, read, unpacker.name)
        self._unpacked = Unpacked(unpacker, old)

    def gather(self, window: Window) -> Gathered:
        """Read and verify the frames that a window needs; for one thread.

        Raises:
            ReleaseDigestError: a frame is not what the index names.
            ManagebootError: what `read` raises.
        """
        needed = {operation.frame for operation in window.operations}
        return {frame: self._frames.frame(frame) for frame in sorted(one for one in needed if one is not None)}

    def put_together(self, image: Image, window: Window, gathered: Gathered, buffer: memoryview) -> None:
        """Fill a buffer with a window, and verify it.

        Args:
            image: the image that the window is of.
            window: the window.
            gathered: what it needs.
            buffer: at least as long as the window, in whole blocks; what is behind the window becomes zeros.

        Raises:
            ReleaseDigestError: the window is not what the index names; the buffer is not to be used.
            ReleaseFormatError: a frame breaks a rule of docs/release-format.md.
        """
        at = 0
        copied = () if self._old is None else self._old.copy(window.operations, buffer)
        for number, operation in enumerate(window.operations):
            end = at + operation.blocks * BLOCK_BYTES
            if number in copied:
                pass
            elif operation.frame is not None:
                begin = operation.first * BLOCK_BYTES
                data = memoryview(self._unpack(gathered[operation.frame]))
                buffer[at:end] = data[begin : begin + end - at]
            else:
                self._fill_alone(operation, buffer[at:end])
            at = end
        length = image.length(window.number)
        if (found := window_digest(buffer[:length])) != window.sha256:
            raise errors.ReleaseDigestError(
                f"cannot {self._verb} window {window.number} of {image.role}: its SHA-256 is {found.hex()}, "
                f"and {window.sha256.hex()} was published"
            )
        buffer[length:at] = bytes(at - length)

    def fill(self, image: Image, window: Window, buffer: memoryview) -> None:
        """Gather what a window needs, and put it together; for one thread.

        Raises:
            ReleaseDigestError, ReleaseFormatError: as `gather` and `put_together`.
            ManagebootError: what `read` raises.
        """
        self.put_together(image, window, self.gather(window), buffer)

    def _fill_alone(self, operation: Operation, target: memoryview) -> None:  # noqa: ARG002  PlannedReader asks which it is
        """Fill what neither a frame nor an old image has."""
        target[:] = bytes(len(target))

    def _unpack(self, frame: Verified) -> bytes:
        return self._unpacked.get(frame.number, lambda: frame)
