"""The layout of release.idx: its rows, their limits, and what each of them means."""

import struct
from typing import NamedTuple

from manageboot.disk.digest import WINDOW_BYTES

MAGIC = b"MBINDEX\n"
VERSION = 1

BLOCK_BYTES = 4096
"""The unit of operations and frames; the last block of an image is filled with zeros."""
FRAME_BLOCKS_MAX = 1024
"""4 MiB of data."""
FRAME_BYTES_MAX = FRAME_BLOCKS_MAX * BLOCK_BYTES + (FRAME_BLOCKS_MAX * BLOCK_BYTES >> 8)
"""Of a stored frame: what zstd makes of data that it can't compress."""
WINDOW_BLOCKS = WINDOW_BYTES // BLOCK_BYTES
WINDOW_FRAMES_MAX = 16
"""How many frames the data of one window may lie in."""

ZERO, COPY, REPLACE, PATCH = range(4)
"""The operations. An index has zero and replace; that of a delta has all."""

HEADER = struct.Struct("<8sIIIIIQ")
IMAGE_ROW = struct.Struct("<32sQI")
FRAME_ROW = struct.Struct("<32sIH")
WINDOW_ROW = struct.Struct("<32sIH")
OPERATION_ROW = struct.Struct("<HHHI")


class Frame(NamedTuple):
    """A frame of the pack, as it is stored."""

    sha256: bytes
    size: int
    """In bytes, compressed."""
    blocks: int
    """How much data it holds."""


class Operation(NamedTuple):
    """Where some blocks of a window come from."""

    blocks: int
    frame: int | None
    """The number of the frame; None: the blocks are zeros."""
    first: int = 0
    """The first of them among the blocks of the frame."""


class Window(NamedTuple):
    """A window of an image that is not all zeros."""

    number: int
    """Its offset in units of WINDOW_BYTES."""
    sha256: bytes
    """Of its bytes, without the zeros that fill the last block of an image."""
    operations: tuple[Operation, ...]
    """They fill it from its first block to its last."""


class Image(NamedTuple):
    """An image; those of its windows that are not listed are all zeros."""

    role: str
    size: int
    """In bytes."""
    windows: int
    """How many are listed."""

    def length(self, number: int) -> int:
        """Return the length of a window in bytes; only the last one is shorter than WINDOW_BYTES."""
        return min(WINDOW_BYTES, self.size - number * WINDOW_BYTES)
