"""Frames that were verified, decompressed; nothing else here gives a byte to a decompressor."""

import threading
from typing import TYPE_CHECKING

from manageboot import errors
from manageboot.release.description import PACK
from manageboot.release.layout import BLOCK_BYTES
from manageboot.release.stored import Frames, Verified, place, verify

if TYPE_CHECKING:
    import zstandard


class Unpacker:
    """Unpacks frames of one pack; any thread may use it, also several at once."""

    def __init__(self, index: Frames, name: str = PACK) -> None:
        """Unpack what an index tells of; messages call the pack by a name."""
        import zstandard

        self.name = name
        self._index = index
        self._zstd_error = zstandard.ZstdError
        self._parameters = zstandard.get_frame_parameters
        self._zstd = zstandard.ZstdDecompressor
        self._dictionary = zstandard.ZstdCompressionDict
        self._raw = zstandard.DICT_TYPE_RAWCONTENT
        self._own = threading.local()

    def unpack(self, number: int, stored: bytes, dictionary: bytes | memoryview = b"") -> bytes:
        """Verify a frame, and return the blocks that it holds.

        Args:
            number: of the frame.
            stored: what lies in the pack at index.offsets[number], frame.size bytes.
            dictionary: as for `unpack_verified`.

        Raises:
            ReleaseDigestError: it is not the frame that the index names; the decompressor has seen nothing of it.
            ReleaseFormatError: it is that frame, and breaks a rule of docs/release-format.md.
        """
        return self.unpack_verified(verify(self._index, number, stored, self.name), dictionary)

    def unpack_verified(self, frame: Verified, dictionary: bytes | memoryview = b"") -> bytes:
        """Return the blocks that a frame holds.

        Args:
            frame: the frame.
            dictionary: the old data that a frame of a delta needs. It is not parsed, and need not be right: who has
                verified the window that it gives has verified it.

        Raises:
            ReleaseFormatError: it breaks a rule of docs/release-format.md.
        """
        expected = frame.blocks * BLOCK_BYTES
        try:
            parameters = self._parameters(frame.content)
            if parameters.content_size != expected:
                raise self._bad(frame, f"it says that it holds {parameters.content_size} bytes instead of {expected}")
            if parameters.dict_id:
                raise self._bad(frame, "it needs a dictionary")
            if dictionary and parameters.has_checksum:
                # So that another dictionary gives other bytes, and no error that looks like a bad release.
                raise self._bad(frame, "it has a dictionary and a checksum")
            # The decoder's own window is no larger than the content, which one segment holds.
            if parameters.window_size > expected:
                raise self._bad(frame, f"it asks for a window of {parameters.window_size} bytes")
            blocks = self._decompressor(dictionary).decompress(frame.content, max_output_size=expected)
        except self._zstd_error as error:
            raise self._bad(frame, f"it is not a zstd frame: {error}") from error
        if len(blocks) != expected:
            raise self._bad(frame, f"it holds {len(blocks)} bytes instead of {expected}")
        return blocks

    def _decompressor(self, dictionary: bytes | memoryview) -> "zstandard.ZstdDecompressor":
        if dictionary:
            return self._zstd(dict_data=self._dictionary(dictionary, dict_type=self._raw))
        if not hasattr(self._own, "zstd"):
            self._own.zstd = self._zstd()
        zstd: zstandard.ZstdDecompressor = self._own.zstd
        return zstd

    def _bad(self, frame: Verified, cause: str) -> errors.ReleaseFormatError:
        return errors.ReleaseFormatError(f"cannot read {place(self._index, frame.number, self.name)}: {cause}")
