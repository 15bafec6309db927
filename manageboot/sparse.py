"""Where the data of an image lies, and where its holes are.

A map is kept as two arrays of 64-bit numbers, so that two million extents cost 32 MiB and not ten times as much.
"""

from array import array

from manageboot.tarheader import BLOCK_SIZE, FieldError, size

MAX_EXTENTS = 1 << 21  # a file of 16 GiB with data in every second block of 4 KiB

_NUMBER = 12  # bytes of a number in an old-GNU map
_ENTRY = 2 * _NUMBER
_NO_ENTRY = bytes(_ENTRY)


class SparseMap:
    """The extents of an image that hold data; they are in order, apart from each other, and inside the image."""

    def __init__(self, size: int) -> None:
        """Start with nothing but a hole.

        Args:
            size: of the image, in bytes, holes included.
        """
        self.size = size
        self.data_size = 0
        self.starts = array("Q")
        self.ends = array("Q")
        self._position = 0

    def add(self, start: int, length: int) -> None:
        """Append an extent, at or after the end of the one before it; empty ones leave no trace but have to fit too.

        Raises:
            FieldError: it overlaps, goes backwards or beyond the image, or there are too many of them.
        """
        end = start + length
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
        if len(self.ends) == MAX_EXTENTS:
            message = f"the sparse map has more than {MAX_EXTENTS} extents"
            raise FieldError(message)
        self.starts.append(start)
        self.ends.append(end)


def dense(size: int) -> SparseMap:
    """Make the map of an image without holes."""
    extents = SparseMap(size)
    extents.add(0, size)
    return extents


def add_old_gnu(extents: SparseMap, table: bytes) -> bool:
    """Append the extents of an old-GNU header or extension header.

    Args:
        table: entries of 24 bytes, two numeric fields each.

    Returns:
        False if an unused entry ended the map.

    Raises:
        FieldError: an entry is bad, or follows an unused one.

    Source: GNU tar's manual, "Old GNU Format".
    """
    for at in range(0, len(table), _ENTRY):
        entry = table[at : at + _ENTRY]
        if entry == _NO_ENTRY:
            if any(table[at:]):
                message = "the sparse map goes on after its end"
                raise FieldError(message)
            return False
        start = size(entry[:_NUMBER], "offset of an extent")
        add_stored(extents, start, size(entry[_NUMBER:], "length of an extent"))
    return True


def add_stored(extents: SparseMap, start: int, length: int) -> None:
    """Append an extent whose data is stored after that of the one before it.

    GNU tar starts each extent in a block of its own, other readers do not. They agree as long as only the last one
    is not a number of whole blocks, so that is all that we take.

    Raises:
        FieldError: an extent before this one is not, or SparseMap.add raises it.
    """
    if length and extents.data_size % BLOCK_SIZE:
        message = f"an extent before the one at {start} is no multiple of {BLOCK_SIZE} bytes"
        raise FieldError(message)
    extents.add(start, length)
