"""Decompress an update image as it is read; which way, its first bytes tell.

Every decoder fills the buffers that it is given, needs bounded memory whatever the input holds, and accounts for the
whole input: nothing may be missing from the last frame, and nothing may follow it.
"""

from typing import IO, Protocol, cast

from manageboot.errors import ImageFormatError, ImageTruncatedError
from manageboot.image import content, formats, tarheader, zstdframes
from manageboot.image.source import CHUNK_SIZE, Source
from manageboot.image.streams import CODECS, StreamDecoder


class Decoder(Protocol):
    """The decompressed bytes of an input, in order."""

    def readinto(self, window: memoryview) -> int:
        """Fill the window, which is not empty, from its start.

        Returns:
            How many bytes it has got, at least 1; or 0 when the whole input has been read and found complete.

        Raises:
            ImageFormatError: the compressed data is damaged, or something follows it.
            ImageTruncatedError: the compressed data ends too early.
            DeviceError: reading the input failed.
        """
        ...


def open_decoder(source: Source) -> tuple[str, Decoder]:
    """Choose the decoder for a source by its first bytes.

    Returns:
        The name of the format, such as "tar.zst", and the decoder.

    Raises:
        ImageTruncatedError: the input is empty.
        ImageFormatError: the input begins like nothing that we can read.
    """
    start = source.peek()
    if not start:
        raise source.error(ImageTruncatedError, "it is empty")
    compression = compression_of(start)
    if compression == "zst":
        return "tar.zst", ZstdDecoder(source)
    if compression is not None:
        return f"tar.{compression}", StreamDecoder(source, CODECS[compression])
    head = start[: content.HEAD_BYTES]
    if len(start) < tarheader.BLOCK_SIZE and content.foreign(head) is None:
        cause = f"it has only {len(start)} bytes, less than a tar header"
        raise source.error(ImageTruncatedError, cause)
    if not formats.is_tar(start):
        cause = f"it {content.beginning(head)}, and neither tar, zstd, gzip, xz nor bzip2"
        raise source.error(ImageFormatError, cause, hint=_hint(head))
    return "tar", PlainDecoder(source)


def _hint(head: bytes) -> str:
    """Say what to give instead of something that is no archive."""
    found = content.foreign(head)
    if found is not None and found.is_disk:
        return "give the update image instead of the disk image"
    return "give an update image, or a boot image and a root image"


def compression_name(form: str) -> str | None:
    """Name the compression of a format of open_decoder()'s, in a word: "zstd" for "tar.zst"; None for "tar"."""
    ending = form.removeprefix("tar").removeprefix(".")
    if not ending:
        return None
    return "zstd" if ending == "zst" else CODECS[ending].name


def compression_of(start: bytes) -> str | None:
    """Name the compression of a file from its first bytes: "zst", "gz", "xz", "bz2" or None."""
    if zstdframes.is_magic(start[:4]):
        return "zst"
    return next((name for name, codec in CODECS.items() if start.startswith(codec.magic)), None)


class PlainDecoder:
    """No compression: the bytes as they are."""

    def __init__(self, source: Source) -> None:
        """Read from the first byte of a source."""
        self._source = source
        self._rest = memoryview(b"")

    def readinto(self, window: memoryview) -> int:
        """Fill the window, as Decoder.readinto does."""
        filled = 0
        while filled < len(window):
            if not self._rest:
                self._rest = memoryview(self._source.read())
                if not self._rest:
                    break
            step = min(len(window) - filled, len(self._rest))
            window[filled : filled + step] = self._rest[:step]
            self._rest = self._rest[step:]
            filled += step
        return filled


class ZstdDecoder:
    """zstd frames, any number of them, with skippable ones between."""

    def __init__(self, source: Source) -> None:
        """Decompress from the first byte of a source."""
        import zstandard

        self._source = source
        self._zstd_error = zstandard.ZstdError
        self._reader = zstandard.ZstdDecompressor(max_window_size=zstdframes.MAX_WINDOW_SIZE).stream_reader(
            cast(IO[bytes], zstdframes.FrameWalker(source)),
            read_size=CHUNK_SIZE,
            read_across_frames=True,
            closefd=False,
        )

    def readinto(self, window: memoryview) -> int:
        """Fill the window, as Decoder.readinto does."""
        try:
            return self._reader.readinto(window)
        except self._zstd_error as error:
            cause = f"the zstd data before offset {self._source.consumed} of the input can't be decompressed: {error}"
            raise self._source.error(ImageFormatError, cause) from error
