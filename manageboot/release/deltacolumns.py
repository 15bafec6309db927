"""The columns of from-OLD.idx, decompressed: numbers of one size each, one column after the other.

The decompressor sees bytes whose SHA-256 was checked with the rest of the file, and may not give more than the header
says, which has a limit.
"""

import sys
from array import array


class Columns:
    """What is still to be read of the columns."""

    def __init__(self, stored: bytes, size: int) -> None:
        """Decompress the columns.

        Args:
            stored: a frame of zstd.
            size: of its content, in bytes; the caller has checked that so much may be there.

        Raises:
            ValueError: it is none, or holds something else.
        """
        import zstandard

        try:
            parameters = zstandard.get_frame_parameters(stored)
            if parameters.content_size != size or parameters.window_size > size or parameters.dict_id:
                raise ValueError(f"its columns are not a frame of zstd that holds {size} bytes")
            content = zstandard.ZstdDecompressor().decompress(stored, max_output_size=size)
        except zstandard.ZstdError as error:
            raise ValueError(f"its columns are not a frame of zstd: {error}") from error
        if len(content) != size:
            raise ValueError(f"its columns have {len(content)} bytes instead of {size}")
        self._rest = memoryview(content)

    def take(self, form: str, count: int) -> "array[int]":
        """Take the next column.

        Args:
            form: the size of its numbers, as `array` calls it.
            count: how many there are.

        Raises:
            ValueError: there are less.
        """
        column = array(form)
        size = count * column.itemsize
        if size > len(self._rest):
            raise ValueError(f"its columns end too early, and {count} more numbers have to be there")
        column.frombytes(self._rest[:size])
        self._rest = self._rest[size:]
        return swapped(column)

    def end(self) -> None:
        """Say that all columns were read.

        Raises:
            ValueError: there is more.
        """
        if self._rest:
            raise ValueError(f"its columns have {len(self._rest)} bytes more than they need")


def swapped(column: "array[int]") -> "array[int]":
    """Turn a column from the order of bytes in the file, little-endian, into that of the machine, or back."""
    if sys.byteorder != "little":
        column.byteswap()
    return column
