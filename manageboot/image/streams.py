"""Decompress gzip, xz and bzip2 with the decompressors of the standard library, and gzip with isal where it is there.

All three formats may be a sequence of streams, each with an end of its own, and their decompressors have one interface
but for small differences: they return what they have decompressed, at most as much as was asked for.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

from manageboot.errors import ImageFormatError, ImageTruncatedError
from manageboot.image import xzheader
from manageboot.image.source import Source

MAX_STREAMS = 1 << 18  # bgzip starts one every 64 KiB, so this is 16 GiB of data
XZ_MEMORY_LIMIT = 160 << 20  # bytes; a dictionary of 128 MiB and what the decoder needs around it
XZ_PADDING_UNIT = 4

_INPUT_STEP = 64 * 1024  # bytes given to a decompressor at once; what it leaves is copied each time
_OUTPUT_STEP = 64 * 1024  # bytes asked for at least


class _Decompressor(Protocol):
    """What bz2, lzma and isal offer, and Gunzip too."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Codec(NamedTuple):
    """A compressed format: how a stream of it begins, and how it is read."""

    name: str
    magic: bytes
    make: Callable[[], tuple[_Decompressor, type[Exception]]]
    padding_unit: int  # zeros may follow a stream in multiples of this; 0: they may not


class Gunzip:
    """zlib's decompressor for one gzip member, with the interface of the others."""

    def __init__(self) -> None:
        """Expect the header of a member."""
        import zlib

        self._inner = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        """Whether the member's trailer has been read and was right."""
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        """Whether everything that was given has been used."""
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        """What was given after the end of the member."""
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return at most so many of the next bytes; data only when needs_input says so."""
        return self._inner.decompress(data or self._inner.unconsumed_tail, max_length)


def _gzip() -> tuple[_Decompressor, type[Exception]]:
    try:
        from isal import igzip_lib
    except ImportError:
        # An extra that few devices have; it is more than twice as fast.
        import zlib

        return Gunzip(), zlib.error
    # Its stub calls the class an instance.
    error = cast(type[Exception], igzip_lib.IsalError)
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), error


def _xz() -> tuple[_Decompressor, type[Exception]]:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_LIMIT), lzma.LZMAError


def _bzip2() -> tuple[_Decompressor, type[Exception]]:
    import bz2

    return bz2.BZ2Decompressor(), OSError


CODECS = {
    "gz": Codec("gzip", b"\x1f\x8b\x08", _gzip, 0),
    "xz": Codec("xz", b"\xfd7zXZ\0", _xz, XZ_PADDING_UNIT),
    "bz2": Codec("bzip2", b"BZh", _bzip2, 0),
}


class StreamDecoder:
    """A sequence of gzip members, or xz or bzip2 streams."""

    def __init__(self, source: Source, codec: Codec) -> None:
        """Decompress from the first byte of a source."""
        self._source = source
        self._codec = codec
        self._streams = 0
        self._input = b""  # the last piece of the source
        self._used = 0  # bytes of it that the decompressor has been given
        self._begin = b""  # of the stream, for the message if it asks for too much
        self._rest = memoryview(b"")  # decompressed, and not yet asked for
        self._ended = False
        self._decompressor, self._error = self._next_stream()

    def readinto(self, window: memoryview) -> int:
        """Fill the window, as Decoder.readinto does."""
        filled = 0
        while filled < len(window):
            if not self._rest:
                if self._ended:
                    break
                self._rest = memoryview(self._decompress(max(len(window) - filled, _OUTPUT_STEP)))
                continue
            step = min(len(window) - filled, len(self._rest))
            window[filled : filled + step] = self._rest[:step]
            self._rest = self._rest[step:]
            filled += step
        return filled

    @property
    def _offset(self) -> int:
        return self._source.consumed - len(self._input) + self._used

    def _decompress(self, size: int) -> bytes:
        """Return some of the next bytes, at most so many; none where a stream begins or ends, or needs more input."""
        if self._decompressor.eof:
            self._used -= len(self._decompressor.unused_data)
            if self._at_end():
                self._ended = True
                return b""
            self._decompressor, self._error = self._next_stream()
        data = self._take() if self._decompressor.needs_input else b""
        try:
            return self._decompressor.decompress(data, size)
        except self._error as error:
            if (needed := self._memory_needed()) is not None:
                allowed = XZ_MEMORY_LIMIT >> 20
                cause = f"the xz data needs {needed >> 20} MiB of memory, and {allowed} are allowed"
                hint = "compress it with xz -9, which needs 65, or less"
                raise self._source.error(ImageFormatError, cause, hint=hint) from error
            cause = (
                f"the {self._codec.name} data before offset {self._offset} of the input can't be decompressed: {error}"
            )
            raise self._source.error(ImageFormatError, cause) from error

    def _next_stream(self) -> tuple[_Decompressor, type[Exception]]:
        self._streams += 1
        if self._streams > MAX_STREAMS:
            cause = f"there are more than {MAX_STREAMS} {self._codec.name} streams before offset {self._offset}"
            raise self._source.error(ImageFormatError, cause)
        self._begin = b""
        return self._codec.make()

    def _memory_needed(self) -> int | None:
        """Return how many bytes of memory an xz stream needs if that is more than it may have, else None."""
        needed = xzheader.memory_needed(self._begin) if self._codec.name == "xz" else None
        return needed if needed is not None and needed > XZ_MEMORY_LIMIT else None

    def _take(self) -> bytes:
        """Return the next step of compressed input, which has to exist."""
        if not self._refill():
            cause = f"it ends inside {self._codec.name} data, after {self._offset} bytes"
            raise self._source.error(ImageTruncatedError, cause)
        data = self._input[self._used : self._used + _INPUT_STEP]
        self._used += len(data)
        if len(self._begin) < xzheader.HEADER_BYTES:
            self._begin += data[: xzheader.HEADER_BYTES - len(self._begin)]
        return data

    def _refill(self) -> bool:
        """Make sure that there is a byte of input to use; False at the end of the source."""
        if self._used == len(self._input):
            self._input, self._used = self._source.read(), 0
        return bool(self._input)

    def _at_end(self) -> bool:
        """Step over padding; True if the source ends there, False if another stream begins."""
        padding = 0
        while self._codec.padding_unit and self._refill() and not self._input[self._used]:
            zeros = len(self._input) - self._used - len(self._input[self._used :].lstrip(b"\0"))
            self._used += zeros
            padding += zeros
        if padding and padding % self._codec.padding_unit:
            cause = (
                f"{padding} bytes of {self._codec.name} padding before offset {self._offset} are not a multiple of 4"
            )
            raise self._source.error(ImageFormatError, cause)
        if not self._refill():
            return True
        self._check_magic()
        return False

    def _check_magic(self) -> None:
        """Refuse what can't be the beginning of another stream."""
        magic = self._codec.magic
        found = self._input[self._used : self._used + len(magic)]
        if magic.startswith(found):  # where a piece of input ends, the decompressor judges the rest of it
            return
        cause = (
            f"there is {found.hex()} instead of another {self._codec.name} stream or the end at offset {self._offset}"
        )
        raise self._source.error(ImageFormatError, cause)
