"""Where the data of an image lies, and where its holes are.

A map is kept as two arrays of 64-bit numbers, so that two million extents cost 32 MiB and not ten times as much.
"""

from array import array
from collections.abc import Callable, Iterator

from manageboot.image.tarheader import BLOCK_SIZE, Dialect, FieldError, Header, decimal, size

MAX_EXTENTS = 1 << 21  # a file of 16 GiB with data in every second block of 4 KiB

_NUMBER = 12  # bytes of a number in an old-GNU map
_ENTRY = 2 * _NUMBER
_NO_ENTRY = bytes(_ENTRY)
_TABLE = slice(386, 482)  # in a header: 4 entries
_IS_EXTENDED = 482
_SIZE = slice(483, 495)
_EXTENSION_TABLE = slice(0, 504)  # in an extension header: 21 entries
_EXTENSION_IS_EXTENDED = 504
_MAX_DIGITS = 20


class SparseMap:
    """The extents of an image that hold data; they are in order, apart from each other, and inside the image."""

    def __init__(self, size: int) -> None:
        """Start with nothing but a hole.

        Args:
            size: of the image, in bytes, holes included.
        """
        self.size = size
        self.data_size = 0
        self.starts = array("Q")  # of the extents; neighbours are one
        self.ends = array("Q")
        self._position = self._added = 0

    def add(self, start: int, length: int) -> None:
        """Append an extent, at or after the end of the one before it; empty ones leave no trace but have to fit too.

        Raises:
            FieldError: it overlaps, goes backwards or beyond the image, or there are too many of them.
        """
        end = start + length
        self._added += 1
        if self._added > MAX_EXTENTS:
            message = f"the sparse map has more than {MAX_EXTENTS} extents"
            raise FieldError(message)
        if start < self._position:
            message = f"the sparse map goes back: an extent at {start} follows one that ends at {self._position}"
            raise FieldError(message)
        if end > self.size:
            message = f"the sparse map has an extent from {start} to {end}, and the size is {self.size}"
            raise FieldError(message)
        self._position = end
        if not length:
            return
        self.data_size += length
        if self.ends and self.ends[-1] == start:
            self.ends[-1] = end
            return
        self.starts.append(start)
        self.ends.append(end)


def dense(size: int) -> SparseMap:
    """Make the map of an image without holes."""
    extents = SparseMap(size)
    extents.add(0, size)
    return extents


def read_old_gnu(header: Header, next_block: Callable[[], bytes]) -> SparseMap:
    """Read the map of a member of type S.

    Args:
        header: the member's own.
        next_block: gives the next block of the archive, for the extension headers.

    Raises:
        FieldError: the map is bad.

    Source: GNU tar's manual, "Old GNU Format".
    """
    if header.dialect is not Dialect.GNU:
        message = "a sparse member of type S has no GNU header"
        raise FieldError(message)
    block = header.block
    extents = SparseMap(size(block[_SIZE], "size of the sparse file"))
    has_room = not _add_table(extents, block[_TABLE])
    is_extended = block[_IS_EXTENDED]
    while is_extended:
        if has_room:
            raise _after_end()
        block = next_block()
        has_room = not _add_table(extents, block[_EXTENSION_TABLE])
        is_extended = block[_EXTENSION_IS_EXTENDED]
    return extents


def read_in_data(extents: SparseMap, next_block: Callable[[], bytes]) -> None:
    """Read a map that stands before the data, as PAX members of version 1.0 have it.

    It is one number to a line: how many extents there are, then offset and length of each; zeros fill the last block.

    Args:
        extents: the map to append to.
        next_block: gives the next block of the member's data.

    Raises:
        FieldError: the map is bad.
    """
    numbers = _numbers(next_block)
    entries = next(numbers)
    if entries > MAX_EXTENTS:
        message = f"the sparse map has {entries} extents, more than {MAX_EXTENTS}"
        raise FieldError(message)
    for _ in range(entries):
        start = next(numbers)
        add_stored(extents, start, next(numbers))


def _numbers(next_block: Callable[[], bytes]) -> Iterator[int]:
    rest = b""
    while len(rest) <= _MAX_DIGITS:
        *lines, rest = (rest + next_block()).split(b"\n")
        for line in lines:
            yield decimal(line, "sparse map's number")
    message = f"the sparse map has a line that begins with {rest[:_MAX_DIGITS]!r}"
    raise FieldError(message)


def _add_table(extents: SparseMap, table: bytes) -> bool:
    """Append the entries of a table; False if one was not used, which ends the map."""
    for at in range(0, len(table), _ENTRY):
        entry = table[at : at + _ENTRY]
        if entry == _NO_ENTRY:
            if any(table[at:]):
                raise _after_end()
            return False
        start = size(entry[:_NUMBER], "offset of an extent")
        add_stored(extents, start, size(entry[_NUMBER:], "length of an extent"))
    return True


def _after_end() -> FieldError:
    return FieldError("the sparse map goes on after its end")


def add_stored(extents: SparseMap, start: int, length: int) -> None:
    """Append an extent whose data is stored after that of the one before it.

    GNU tar starts each extent in a block of its own, other readers do not. They agree as long as only the last one
    is not a number of whole blocks, so that is all that we take.

    Raises:
        FieldError: an extent before this one is not, or SparseMap.add raises it.
    """
    if length and extents.data_size % BLOCK_SIZE:
        message = f"an extent before the one at {start} is not a multiple of {BLOCK_SIZE} bytes"
        raise FieldError(message)
    extents.add(start, length)
