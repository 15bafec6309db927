"""Writes update-img.tar.zst out of image files: the same images always give the same bytes.

Where the data lies is told by the windows that were packed, so an image is the same sparse member whether its file has
holes or zeros. Sparse members are of the PAX format 1.0, which GNU tar, Python and manageboot read.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from manageboot.disk.digest import WINDOW_BYTES
from manageboot.image import VERSION, Member
from manageboot.publish.outfile import OutFile
from manageboot.publish.packing import PackedImage
from manageboot.release.layout import BLOCK_BYTES

LEVEL = 8
WINDOW_LOG = 27
"""128 MiB, as the agents of IC-OS read it."""

_TAR_BLOCK = 512
_OCTAL_MAX = 8 << 30
"""Larger sizes are in an extended header."""
_PIECE_BYTES = 1 << 20

Extent = tuple[int, int]
"""Where data begins, and where it ends."""


class ArchiveWriter:
    """Writes the members of an archive, one after the other."""

    def __init__(self, file: OutFile, *, report: Callable[[int], None]) -> None:
        """Write to a file; `report` is called with the number of bytes of images that were read."""
        import zstandard

        parameters = zstandard.ZstdCompressionParameters.from_level(
            LEVEL, window_log=WINDOW_LOG, enable_ldm=True, write_checksum=True
        )
        self._file = file
        self._zstd = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        self._report = report

    def add_image(self, member: Member, image: PackedImage) -> None:
        """Write an image that was packed before.

        Args:
            member: the image, from its beginning.
            image: what is known of it.

        Raises:
            DataError, DeviceError: the image is bad, or reading or writing failed.
        """
        extents = list(_extents(image))
        dense = extents == [(0, member.size)]
        stored_map = b"" if dense else _map(extents)
        stored = len(stored_map) + sum(end - start for start, end in extents)
        fields: list[tuple[str, str | int]] = []
        if not dense:
            fields += [("GNU.sparse.major", 1), ("GNU.sparse.minor", 0)]
            fields += [("GNU.sparse.name", member.name), ("GNU.sparse.realsize", member.size)]
        self._header(member.name if dense else f"GNUSparseFile.0/{member.name}", stored, fields)
        self._write(stored_map)
        position = 0
        for start, end in extents:
            _pass(member, start - position)
            for at in range(start, end, _PIECE_BYTES):
                piece = bytearray(min(_PIECE_BYTES, end - at))
                member.readinto(memoryview(piece))
                self._write(bytes(piece))
                self._report(at + len(piece))
            position = end
        _pass(member, member.size - position)
        self._write(bytes(-stored % _TAR_BLOCK))

    def add_version(self, version: str) -> None:
        """Write VERSION.TXT."""
        content = f"{version}\n".encode()
        self._header(VERSION, len(content), [])
        self._write(content + bytes(-len(content) % _TAR_BLOCK))

    def finish(self) -> None:
        """Write the end of the archive.

        Raises:
            DeviceError: writing failed.
        """
        self._write(bytes(2 * _TAR_BLOCK))
        self._file.write(self._zstd.flush())

    def _write(self, data: bytes) -> None:
        if data:
            self._file.write(self._zstd.compress(data))

    def _header(self, name: str, size: int, fields: Sequence[tuple[str, str | int]]) -> None:
        if size >= _OCTAL_MAX:
            fields = [*fields, ("size", size)]
            size = 0
        if fields:
            body = b"".join(_record(key, value) for key, value in fields)
            self._write(_block(f"PaxHeaders/{name}", len(body), b"x") + body + bytes(-len(body) % _TAR_BLOCK))
        self._write(_block(name, size, b"0"))


def _pass(member: Member, length: int) -> None:
    """Step over zeros: holes, or blocks of a file that are there and hold nothing."""
    while length > 0:
        step = member.skip_hole(BLOCK_BYTES) if length >= BLOCK_BYTES else 0
        if not step:
            step = min(length, BLOCK_BYTES)
            member.readinto(memoryview(bytearray(step)))
        length -= step


def _extents(image: PackedImage) -> Iterator[Extent]:
    """Give where an image has blocks with data, neighbours as one."""
    begin = end = 0
    for window in image.windows:
        at = window.number * WINDOW_BYTES
        for operation in window.operations:
            stop = min(at + operation.blocks * BLOCK_BYTES, image.whole.size)
            if operation.frame is not None:
                if at != end:
                    if end > begin:
                        yield begin, end
                    begin = at
                end = stop
            at = stop
    if end > begin:
        yield begin, end
    if end < image.whole.size:
        yield image.whole.size, image.whole.size  # as GNU tar ends a map that ends in a hole


def _map(extents: Iterable[Extent]) -> bytes:
    numbers = [number for start, end in extents for number in (start, end - start)]
    text = "".join(f"{number}\n" for number in (len(numbers) // 2, *numbers)).encode()
    return text + bytes(-len(text) % _TAR_BLOCK)


def _record(key: str, value: str | int) -> bytes:
    """Make a record of an extended header, whose length counts its own digits."""
    rest = f" {key}={value}\n".encode()
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def _block(name: str, size: int, kind: bytes) -> bytes:
    """Make a header block, of root, at no time."""
    block = bytearray(_TAR_BLOCK)
    block[: len(name)] = name.encode()
    block[100:148] = b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"%011o\0" % 0
    block[148:157] = b" " * 8 + kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
