"""Windows of a release, put together from old images and the frames of a delta; whoever gets one gets the right one."""

from collections import OrderedDict
from collections.abc import Callable

from manageboot import errors
from manageboot.disk.digest import window_digest
from manageboot.release.delta import DeltaIndex
from manageboot.release.deltalayout import Extent, Operation, Window
from manageboot.release.frames import Unpacker
from manageboot.release.layout import BLOCK_BYTES, Image
from manageboot.release.windows import FRAMES_KEPT, ReadStored

ReadOld = Callable[[Extent], bytes]
"""Gives the blocks of an extent of the old images; they need not be right. The last block of an image is filled with
zeros, whatever lies behind the image on its device."""


class DeltaReader:
    """Reads windows; for one thread."""

    def __init__(self, delta: DeltaIndex, read: ReadStored, read_old: ReadOld, unpacker: Unpacker) -> None:
        """Read what a delta tells of.

        Args:
            delta: its index.
            read: gives the bytes of its pack.
            read_old: gives the blocks of the old images.
            unpacker: unpacks the frames of the pack.
        """
        self._delta = delta
        self._read = read
        self._read_old = read_old
        self._unpacker = unpacker
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def fill(self, image: Image, window: Window, buffer: memoryview) -> None:
        """Fill a buffer with a window, and verify it.

        Args:
            image: the new image that the window is of.
            window: the window.
            buffer: at least as long as the window, in whole blocks; what is behind the window becomes zeros.

        Raises:
            ReleaseDigestError: a frame or the window is not what was published; the buffer is not to be used. If it is
                the window, the old images are not those that the delta is from, or the release is wrong.
            ReleaseFormatError: a frame breaks a rule of docs/release-format.md.
            ManagebootError: what `read` and `read_old` raise.
        """
        at = 0
        for operation in window.operations:
            end = at + operation.blocks * BLOCK_BYTES
            buffer[at:end] = self._data(operation)
            at = end
        length = image.length(window.number)
        if (found := window_digest(buffer[:length])) != window.sha256:
            raise errors.ReleaseDigestError(
                f"cannot make window {window.number} of {image.role}: its SHA-256 is {found.hex()}, "
                f"and {window.sha256.hex()} was published"
            )
        buffer[length:at] = bytes(at - length)

    def _data(self, operation: Operation) -> bytes | memoryview:
        if operation.extent is not None:
            return self._read_old(operation.extent)
        if operation.frame is None:
            return bytes(operation.blocks * BLOCK_BYTES)
        begin = operation.first * BLOCK_BYTES
        return memoryview(self._unpacked(operation.frame))[begin : begin + operation.blocks * BLOCK_BYTES]

    def _unpacked(self, frame: int) -> bytes:
        kept = self._kept.pop(frame, None)
        if kept is None:
            stored = self._read(self._delta.offsets[frame], self._delta.frame(frame).size)
            dictionary = b"".join(map(self._read_old, self._delta.dictionary(frame)))
            kept = self._unpacker.unpack(frame, stored, dictionary)
        self._kept[frame] = kept
        if len(self._kept) > FRAMES_KEPT:
            self._kept.popitem(last=False)
        return kept
