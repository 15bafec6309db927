"""Read a tar archive as a stream, strictly: what is not understood is an error, and so is an archive that just stops.

Python's tarfile takes a damaged header for the end of the archive, and can't read sparse members without seeking. This
reader knows old-GNU and PAX sparse members, long names, sizes beyond 8 GiB, and the end: two blocks of zeros, and after
them nothing but zeros.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from manageboot.errors import ImageFormatError, ImageTruncatedError
from manageboot.image import content, formats, pax, sparse, tarheader
from manageboot.image.decompress import Decoder
from manageboot.image.pax import PaxHeader
from manageboot.image.source import Source
from manageboot.image.sparse import SparseMap
from manageboot.image.tarheader import BLOCK_SIZE, Dialect, FieldError, Header, shown

MAX_MEMBERS = 1024  # an update image has three, and a directory entry
MAX_END_PADDING = 64 << 20  # bytes after the end; tar itself pads to 10 KiB

FILE = "a file"
DIRECTORY = "a directory"
LABEL = "a volume label"
LINKS = ("a hard link", "a symbolic link")

_SCRATCH_SIZE = 256 * 1024
_ZEROS = bytes(_SCRATCH_SIZE)
_ZERO_BLOCK = bytes(BLOCK_SIZE)
_KINDS = {
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,
    b"S": FILE,
    **dict(zip((b"1", b"2"), LINKS, strict=True)),
    b"3": "a character device",
    b"4": "a block device",
    b"5": DIRECTORY,
    b"6": "a fifo",
    b"D": "a dumped directory",
    b"M": "the continuation of another volume",
    b"V": LABEL,
}


_PAX_SPARSE_TYPES = {b"0", b"\0"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A member of an archive."""

    name: str
    kind: str  # FILE, DIRECTORY, or another one in words
    extents: SparseMap
    stored_size: int  # bytes in the archive, a sparse map in front of them included


class TarReader:
    """The members of an archive, in its order."""

    def __init__(
        self, source: Source, decoder: Decoder, *, compression: str | None = None, size: int | None = None
    ) -> None:
        """Read from the first byte that a decoder gives.

        Args:
            source: the input, which names itself in errors.
            decoder: gives the archive.
            compression: what the archive is compressed with, in a word.
            size: of the archive in bytes, if it is known beforehand.
        """
        self._compression = compression
        self._source = source
        self._decoder = decoder
        self._size = size
        self._ahead = memoryview(b"")  # read to see what it is, and to be read again
        self._offset = 0  # in the archive
        self._members = 0
        self._name = ""  # of the member whose data is being read
        self._stored = self._left = 0  # bytes of it in the archive, and those of them still to come
        self._scratch = memoryview(bytearray(_SCRATCH_SIZE))

    def entries(self) -> Iterator[Entry]:
        """Give the members one by one; data of one that has not been read when the next is asked for is skipped.

        Raises:
            ImageFormatError: the archive breaks the format.
            ImageTruncatedError: it ends too early.
        """
        self._look_ahead()
        while (entry := self._next_entry()) is not None:
            yield entry
            self._skip(self._left + -self._stored % BLOCK_SIZE)
        self._check_rest()

    def read(self, window: memoryview) -> None:
        """Fill the window with the next bytes that the archive holds of the member.

        Raises:
            ImageTruncatedError: the archive ends before that.
        """
        self._left -= len(window)
        got = self._fill(window)
        if got < len(window):
            self._left += len(window) - got
            raise self._member_ends(self._stored - self._left)

    def _next_entry(self) -> Entry | None:
        """Read up to the data of the next member; None at the end-of-archive blocks."""
        extended: PaxHeader | None = None
        long_name: str | None = None
        while True:
            at = self._offset
            block = self._block("without the two blocks of zeros that end an archive")
            try:
                if block == _ZERO_BLOCK:
                    # An extended header or a long name may have come that no member follows: GNU tar passes it over.
                    self._check_end()
                    return None
                header = self._parse(block)
                match header.type:
                    case b"x" | b"X":  # X: as Solaris wrote it before POSIX
                        _refuse_second(extended, "extended header")
                        extended = pax.parse(self._body(header, pax.MAX_HEADER_SIZE, "an extended header"))
                    case b"g":
                        pax.check_global(self._body(header, pax.MAX_HEADER_SIZE, "a global header"))
                    case b"L":
                        _refuse_second(long_name, "long name")
                        long_name = self._long_name(header)
                    case b"K":  # the target of a link, which is refused by its own header
                        self._long_name(header)
                    case _:
                        return self._entry(header, extended or PaxHeader(), long_name)
            except FieldError as error:
                raise self._bad(f"{error} (header at offset {at} of the archive)") from error

    def _parse(self, block: bytes) -> Header:
        self._members += 1
        if self._members > MAX_MEMBERS:
            message = f"there are more than {MAX_MEMBERS} members and extended headers"
            raise FieldError(message)
        return tarheader.parse(block)

    def _entry(self, header: Header, extended: PaxHeader, long_name: str | None) -> Entry:
        name = extended.path or long_name or header.name
        kind = _KINDS.get(header.type, f"of the unknown type {header.type!r}")
        if kind == FILE and name.endswith("/"):  # as v7 marks them
            kind = DIRECTORY
        self._name, self._stored, self._left = name, 0, 0
        if kind not in (FILE, DIRECTORY, LABEL):  # it will be refused, whatever its size field says
            return Entry(name, kind, sparse.dense(0), 0)
        stored = header.size if extended.size is None else extended.size
        if kind == DIRECTORY and stored:
            message = f"directory {name!r} has {stored} bytes"
            raise FieldError(message)
        self._stored = self._left = stored
        if kind != FILE:
            return Entry(name, kind, sparse.dense(0), stored)
        extents = self._extents(header, extended)
        if self._size is not None and self._left > self._size - self._offset:
            raise self._member_ends(stored - self._left + self._size - self._offset)
        if extents.data_size != self._left:
            message = f"the sparse map of {name!r} has {extents.data_size} bytes, {self._left} are stored"
            raise FieldError(message)
        return Entry(name, kind, extents, stored)

    def _extents(self, header: Header, extended: PaxHeader) -> SparseMap:
        """Read the map of a file, as far as there is one."""
        if header.type == b"S":
            if extended.is_sparse:
                message = f"{self._name!r} has an old-GNU and a PAX sparse map"
                raise FieldError(message)
            return sparse.read_old_gnu(header, partial(self._block, f"inside the sparse map of {self._name!r}"))
        if not extended.is_sparse:
            return sparse.dense(self._stored)
        if header.dialect is not Dialect.POSIX or header.type not in _PAX_SPARSE_TYPES:
            # GNU tar writes none, and reads something else out of one.
            message = f"{self._name!r} has a PAX sparse map, and not the header of a POSIX file"
            raise FieldError(message)
        extents = extended.empty_map()
        if extended.map_in_data:
            sparse.read_in_data(extents, self._data_block)
        else:
            extended.add_extents(extents)
        return extents

    def _data_block(self) -> bytes:
        if self._left < BLOCK_SIZE:
            message = f"the sparse map of {self._name!r} has no end"
            raise FieldError(message)
        self._left -= BLOCK_SIZE
        return self._block(f"inside the sparse map of {self._name!r}")

    def _long_name(self, header: Header) -> str:
        return tarheader.text(self._body(header, pax.MAX_NAME_SIZE + 1, "a long name"))

    def _body(self, header: Header, limit: int, what: str) -> bytes:
        """Read the data of a header that only describes the next one."""
        if header.size > limit:
            message = f"{what} has {header.size} bytes, and {limit} are allowed"
            raise FieldError(message)
        body = bytearray(header.size + -header.size % BLOCK_SIZE)
        if self._fill(memoryview(body)) < len(body):
            raise self._truncated(f"inside {what}")
        del body[header.size :]
        return bytes(body)

    def _block(self, where: str) -> bytes:
        block = self._scratch[:BLOCK_SIZE]
        if self._fill(block) < BLOCK_SIZE:
            raise self._truncated(where)
        return bytes(block)

    def _look_ahead(self) -> None:
        """Refuse what is compressed and no archive; without compression, whoever opened it has looked already."""
        if self._compression is None:
            return
        head = self._take(BLOCK_SIZE)
        if not formats.is_tar(head):
            head += self._take(content.HEAD_BYTES - len(head))
            found = content.foreign(head)
            name = content.describe(head) if found is None else found.name
            inside = f"inside the {self._compression} stream is"
            if name is not None and head.strip(b"\0"):
                raise self._bad(f"{inside} {name}, not tar")
            if name is None and len(head) >= BLOCK_SIZE and head[:BLOCK_SIZE] != _ZERO_BLOCK:
                raise self._bad(f"{inside} no tar: it {content.beginning(head)}")
        self._ahead = memoryview(head)
        self._offset = 0

    def _take(self, size: int) -> bytes:
        window = memoryview(bytearray(size))
        return bytes(window[: self._fill(window)])

    def _fill(self, window: memoryview) -> int:
        """Fill the window as far as the archive goes."""
        filled = min(len(window), len(self._ahead))
        window[:filled] = self._ahead[:filled]
        self._ahead = self._ahead[filled:]
        while filled < len(window) and (got := self._decoder.readinto(window[filled:])):
            filled += got
        self._offset += filled
        return filled

    def _skip(self, size: int) -> None:
        while size:
            window = self._scratch[: min(size, _SCRATCH_SIZE)]
            if self._left:
                window = window[: self._left]
                self.read(window)
            elif self._fill(window) < len(window):
                raise self._truncated(f"in the padding after {self._name!r}")
            size -= len(window)

    def _check_end(self) -> None:
        """Read the second of the blocks that end an archive."""
        if self._block("after one of the two blocks of zeros that end an archive") != _ZERO_BLOCK:
            message = "there is one block of zeros, and not the two that end an archive"
            raise FieldError(message)

    def _check_rest(self) -> None:
        """Read what is left of the input, which has to be zeros."""
        padding = 0
        while got := self._fill(self._scratch):
            if self._scratch[:got] != _ZEROS[:got]:
                at = next(i for i, byte in enumerate(self._scratch) if byte)
                raise self._bad(f"there is data after its end, at offset {self._offset - got + at} of the archive")
            padding += got
            if padding > MAX_END_PADDING:
                raise self._bad(f"there are more than {MAX_END_PADDING} zeros after its end")

    def _bad(self, cause: str) -> ImageFormatError:
        return self._source.error(ImageFormatError, cause)

    def _truncated(self, where: str) -> ImageTruncatedError:
        return self._source.error(ImageTruncatedError, f"it ends {where} (offset {self._offset} of the archive)")

    def _member_ends(self, got: int) -> ImageTruncatedError:
        return self._source.error(
            ImageTruncatedError,
            f"member {shown(self._name)} ends after {got} of {self._stored} bytes"
            f" (offset {self._offset} of the archive)",
        )


def _refuse_second(first: object, what: str) -> None:
    if first is not None:
        message = f"a second {what} follows the first"
        raise FieldError(message)
