"""Windows of the images, put together from the frames of a pack; whoever gets one gets what the index names."""

from collections import OrderedDict
from collections.abc import Callable

from manageboot import errors
from manageboot.disk.digest import window_digest
from manageboot.release.frames import Unpacker
from manageboot.release.index import Index
from manageboot.release.layout import BLOCK_BYTES, Image, Operation, Window

FRAMES_KEPT = 4
"""How many unpacked frames are kept, in case the next window needs one again: at most 16 MiB."""

ReadStored = Callable[[int, int], bytes]
"""Gives the bytes of the pack at an offset, as many as are asked for; they need not be right."""


class WindowReader:
    """Reads windows; for one thread. Windows in order ask for each frame once, but for one with duplicates far back."""

    def __init__(self, index: Index, read: ReadStored, unpacker: Unpacker) -> None:
        """Read what an index tells of; `read` gives the bytes of the pack."""
        self._index = index
        self._read = read
        self._unpacker = unpacker
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def fill(self, image: Image, window: Window, buffer: memoryview) -> None:
        """Fill a buffer with a window, and verify it.

        Args:
            image: the image that the window is of.
            window: the window.
            buffer: at least as long as the window, in whole blocks; what is behind the window becomes zeros.

        Raises:
            ReleaseDigestError: a frame or the window is not what the index names; the buffer is not to be used.
            ReleaseFormatError: a frame breaks a rule of docs/release-format.md.
            ManagebootError: what `read` raises.
        """
        at = 0
        for operation in window.operations:
            end = at + operation.blocks * BLOCK_BYTES
            if operation.frame is None:
                self._fill_alone(operation, buffer[at:end])
            else:
                begin = operation.first * BLOCK_BYTES
                data = memoryview(self._unpacked(operation.frame))
                buffer[at:end] = data[begin : begin + end - at]
            at = end
        length = image.length(window.number)
        if (found := window_digest(buffer[:length])) != window.sha256:
            raise errors.ReleaseDigestError(
                f"cannot read window {window.number} of {image.role}: its SHA-256 is {found.hex()}, "
                f"and {window.sha256.hex()} was published"
            )
        buffer[length:at] = bytes(at - length)

    def _fill_alone(self, operation: Operation, target: memoryview) -> None:  # noqa: ARG002  others have more kinds
        """Fill what no frame has."""
        target[:] = bytes(len(target))

    def _unpacked(self, frame: int) -> bytes:
        kept = self._kept.pop(frame, None)
        if kept is None:
            stored = self._read(self._index.offsets[frame], self._index.frame(frame).size)
            kept = self._unpacker.unpack(frame, stored)
        self._kept[frame] = kept
        if len(self._kept) > FRAMES_KEPT:
            self._kept.popitem(last=False)
        return kept
