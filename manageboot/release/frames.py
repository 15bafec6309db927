"""Frames of a pack: verified first, then decompressed; nothing else here gives a byte to a decompressor."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

from manageboot import errors
from manageboot.release.description import PACK
from manageboot.release.layout import BLOCK_BYTES, Frame


class Frames(Protocol):
    """What an index says of the frames of a pack: that of a release, or of a delta."""

    @property
    def offsets(self) -> Sequence[int]:
        """Where each frame begins in the pack, in bytes."""

    def frame(self, number: int) -> Frame:
        """Return a frame."""


class Unpacker:
    """Unpacks frames of one pack, one after the other; each thread needs its own."""

    def __init__(self, index: Frames, name: str = PACK) -> None:
        """Unpack what an index tells of; messages call the pack by a name."""
        import zstandard

        self._index = index
        self._name = name
        self._zstd_error = zstandard.ZstdError
        self._parameters = zstandard.get_frame_parameters
        self._zstd = zstandard.ZstdDecompressor
        self._dictionary = zstandard.ZstdCompressionDict
        self._raw = zstandard.DICT_TYPE_RAWCONTENT
        self._alone = self._zstd()

    def unpack(self, number: int, stored: bytes, dictionary: bytes = b"") -> bytes:
        """Verify a frame, and return the blocks that it holds.

        Args:
            number: of the frame.
            stored: what lies in the pack at index.offsets[number], frame.size bytes.
            dictionary: the old data that a frame of a delta needs. It is not parsed, and need not be right: who has
                verified the window that it gives has verified it.

        Raises:
            ReleaseDigestError: it is not the frame that the index names; the decompressor has seen nothing of it.
            ReleaseFormatError: it is that frame, and breaks a rule of docs/release-format.md.
        """
        frame = self._index.frame(number)
        check_frame(frame, stored, self.place(number))
        expected = frame.blocks * BLOCK_BYTES
        try:
            parameters = self._parameters(stored)
            if parameters.content_size != expected:
                raise self._bad(number, f"it says that it holds {parameters.content_size} bytes instead of {expected}")
            if parameters.dict_id:
                raise self._bad(number, "it needs a dictionary")
            if dictionary and parameters.has_checksum:
                # So that another dictionary gives other bytes, and no error that looks like a bad release.
                raise self._bad(number, "it has a dictionary and a checksum")
            # The decoder's own window is no larger than the content, which one segment holds.
            if parameters.window_size > expected:
                raise self._bad(number, f"it asks for a window of {parameters.window_size} bytes")
            zstd = self._alone
            if dictionary:
                zstd = self._zstd(dict_data=self._dictionary(dictionary, dict_type=self._raw))
            blocks = zstd.decompress(stored, max_output_size=expected)
        except self._zstd_error as error:
            raise self._bad(number, f"it is not a zstd frame: {error}") from error
        if len(blocks) != expected:
            raise self._bad(number, f"it holds {len(blocks)} bytes instead of {expected}")
        return blocks

    def place(self, number: int) -> str:
        """Name a frame in a message."""
        return f"{self._name} at {self._index.offsets[number]}, frame {number}"

    def _bad(self, number: int, cause: str) -> errors.ReleaseFormatError:
        return errors.ReleaseFormatError(f"cannot read {self.place(number)}: {cause}")


def check_frame(frame: Frame, stored: bytes, place: str) -> None:
    """Make sure that a stored frame is the one that the index names.

    Raises:
        ReleaseDigestError: it is not.
    """
    if len(stored) != frame.size:
        raise errors.ReleaseDigestError(f"cannot read {place}: {len(stored)} bytes are there instead of {frame.size}")
    if (found := hashlib.sha256(stored).digest()) != frame.sha256:
        cause = f"its SHA-256 is {found.hex()}, and {frame.sha256.hex()} was published"
        raise errors.ReleaseDigestError(f"cannot read {place}: {cause}")
