"""Follow the frames of a zstd stream by its compressed bytes, without decompressing them.

The decompressor of python-zstandard ends silently where its input ends, be it in the middle of a frame. This walker
sees the same bytes as they pass, reads the headers of frames and blocks, steps over everything else, and so knows
whether the input ended between two frames, how large a window it asks for, and where the first wrong header is.

Source: RFC 8878, section 3.1.
"""

from collections.abc import Callable

from manageboot.errors import ImageFormatError, ImageTruncatedError
from manageboot.image.source import Source

MAGIC = b"\x28\xb5\x2f\xfd"
MAX_WINDOW_SIZE = 1 << 27  # bytes; what --long=27 asks for, and the default limit of zstd itself
MAX_BLOCKS = 1 << 22  # 80 thousand full blocks hold 10 GiB; a stream of empty ones is no image
MAX_FRAMES = 1 << 18

_SKIPPABLE_TAIL = b"\x2a\x4d\x18"  # after a byte from 0x50 to 0x5f
_BLOCK_SIZE_LIMIT = 128 * 1024
_DICTIONARY_ID_SIZES = (0, 1, 2, 4)
_RESERVED_BIT = 0x08
_CHECKSUM_BIT = 0x04
_SINGLE_SEGMENT_BIT = 0x20
_CHECKSUM_SIZE = 4
_RAW, _RLE, _RESERVED = 0, 1, 3


def is_magic(start: bytes) -> bool:
    """Tell whether a frame begins with these four bytes, be it one of data or one to skip."""
    return start == MAGIC or is_skippable(start)


def is_skippable(start: bytes) -> bool:
    """Tell whether a frame that carries no data begins with these four bytes."""
    return start[1:] == _SKIPPABLE_TAIL and start[0] & 0xF0 == 0x50


def _may_become_magic(start: bytes) -> bool:
    return MAGIC.startswith(start) or is_skippable(start + _SKIPPABLE_TAIL[len(start) - 1 :])


class FrameWalker:
    """The reading end of a source that checks the frames of what it reads."""

    def __init__(self, source: Source) -> None:
        """Follow the compressed bytes of a source from its first one."""
        self._source = source
        self._offset = 0  # of the next byte, in the input
        self._skip = 0  # bytes of content to step over
        self._header = bytearray()  # the part of the awaited header that has arrived
        self._wanted = len(MAGIC)
        self._parse: Callable[[bytes], None] = self._frame_magic
        self._what = "frame"
        self._frames = self._blocks = 0
        self._block_limit = 0
        self._checksum = 0

    def read(self, size: int) -> bytes:
        """Read the next piece of the source, and judge the headers in it.

        Raises:
            ImageFormatError: a header breaks the format, asks for too large a window, or there are too many of them.
            ImageTruncatedError: the input has ended inside a frame.
        """
        chunk = self._source.read(size)
        if chunk:
            self._feed(chunk)
        else:
            self._finish()
        return chunk

    @property
    def _at_frame(self) -> bool:
        """Whether the next byte belongs to the magic of a frame."""
        return self._parse == self._frame_magic and not self._skip

    def _feed(self, chunk: bytes) -> None:
        position, end = 0, len(chunk)
        while position < end:
            if self._skip:
                step = min(self._skip, end - position)
                self._skip -= step
            else:
                step = min(self._wanted - len(self._header), end - position)
                self._header += chunk[position : position + step]
            position += step
            self._offset += step
            if not self._skip and len(self._header) == self._wanted:
                header = bytes(self._header)
                self._header.clear()
                self._parse(header)
        if self._at_frame and self._header and not _may_become_magic(bytes(self._header)):
            raise self._garbage(bytes(self._header))  # before the decompressor says the same less clearly

    def _finish(self) -> None:
        if self._at_frame and not self._header:
            return
        missing = self._skip or self._wanted - len(self._header)
        cause = f"it ends inside a zstd {self._what}, after {self._offset} bytes, at least {missing} bytes too early"
        raise self._source.error(ImageTruncatedError, cause)

    def _expect(self, what: str, size: int, parse: Callable[[bytes], None], *, skip: int = 0) -> None:
        self._what, self._wanted, self._parse, self._skip = what, size, parse, skip

    def _bad(self, cause: str, back: int) -> ImageFormatError:
        return self._source.error(ImageFormatError, f"{cause} at offset {self._offset - back} of the input")

    def _garbage(self, found: bytes) -> ImageFormatError:
        return self._bad(f"there is {found.hex()} instead of a zstd frame or the end", len(found))

    def _frame_magic(self, header: bytes) -> None:
        self._frames += 1
        if self._frames > MAX_FRAMES:
            raise self._bad(f"there are more than {MAX_FRAMES} zstd frames", 4)
        if header == MAGIC:
            self._expect("frame header", 1, self._frame_descriptor)
        elif is_skippable(header):
            self._expect("skippable frame", 4, self._skippable_size)
        else:
            raise self._garbage(header)

    def _skippable_size(self, header: bytes) -> None:
        size = int.from_bytes(header, "little")
        if size:
            self._expect("skippable frame", 1, self._content_end, skip=size - 1)
        else:
            self._expect("frame", len(MAGIC), self._frame_magic)

    # The last byte of what is stepped over counts as a header, so that the frame is over when that byte is there.
    def _content_end(self, _last: bytes) -> None:
        self._expect("frame", len(MAGIC), self._frame_magic)

    def _frame_descriptor(self, header: bytes) -> None:
        (descriptor,) = header
        if descriptor & _RESERVED_BIT:
            raise self._bad("a reserved bit is set in the zstd frame header", 1)
        self._checksum = _CHECKSUM_SIZE if descriptor & _CHECKSUM_BIT else 0
        single = bool(descriptor & _SINGLE_SEGMENT_BIT)
        window_bytes = 0 if single else 1
        dictionary_bytes = _DICTIONARY_ID_SIZES[descriptor & 3]
        content_bytes = (1 if single else 0, 2, 4, 8)[descriptor >> 6]

        def parse(fields: bytes) -> None:
            self._frame_fields(fields, window_bytes, dictionary_bytes)

        self._expect("frame header", window_bytes + dictionary_bytes + content_bytes, parse)

    def _frame_fields(self, fields: bytes, window_bytes: int, dictionary_bytes: int) -> None:
        if window_bytes:
            base = 1 << (10 + (fields[0] >> 3))
            window = base + base // 8 * (fields[0] & 7)
        else:  # one segment: the window is the content
            content = fields[dictionary_bytes:]
            window = int.from_bytes(content, "little") + (256 if len(content) == 2 else 0)
        if window > MAX_WINDOW_SIZE:
            cause = f"a zstd frame asks for a window of {window} bytes, and {MAX_WINDOW_SIZE} are allowed,"
            raise self._bad(cause, len(fields))
        if any(fields[window_bytes : window_bytes + dictionary_bytes]):
            raise self._bad("a zstd frame needs a dictionary", len(fields))
        self._block_limit = min(window, _BLOCK_SIZE_LIMIT)
        self._expect("block header", 3, self._block_header)

    def _block_header(self, header: bytes) -> None:
        self._blocks += 1
        if self._blocks > MAX_BLOCKS:
            raise self._bad(f"there are more than {MAX_BLOCKS} zstd blocks", 3)
        bits = int.from_bytes(header, "little")
        last, kind, size = bits & 1, bits >> 1 & 3, bits >> 3
        if kind == _RESERVED:
            raise self._bad("a zstd block is of the reserved type", 3)
        if size > self._block_limit:
            raise self._bad(f"a zstd block has {size} bytes, at most {self._block_limit} are possible,", 3)
        stored = 1 if kind == _RLE else size
        if not last:
            self._expect("block", 3, self._block_header, skip=stored)
        elif stored + self._checksum:
            self._expect("block", 1, self._content_end, skip=stored + self._checksum - 1)
        else:
            self._expect("frame", len(MAGIC), self._frame_magic)
