"""The layout of from-OLD.idx: its header, its limits, and what its numbers mean."""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from manageboot.release.layout import COPY, FRAME_BLOCKS_MAX, PATCH, REPLACE

MAGIC = b"MBDELTA\n"
VERSION = 1
HEADER = struct.Struct("<8sIIIIIQI")
SHA256_BYTES = 32

COLUMNS_BYTES_MAX = 16 << 20
"""Of the columns, decompressed."""
DICTIONARY_BLOCKS_MAX = FRAME_BLOCKS_MAX
"""4 MiB of old data for one frame."""


class Extent(NamedTuple):
    """Some blocks of an old image."""

    image: int
    """Its number among the images of the delta."""
    first: int
    blocks: int


class Operation(NamedTuple):
    """Where some blocks of a window come from."""

    code: int
    """ZERO, COPY, REPLACE or PATCH."""
    blocks: int
    origin: int = 0
    """COPY: the number of the old image; REPLACE and PATCH: that of the frame."""
    first: int = 0
    """The first of them in the old image, or in the frame."""

    @property
    def frame(self) -> int | None:
        """The frame that it needs; None: none."""
        return self.origin if self.code in {REPLACE, PATCH} else None

    @property
    def extent(self) -> Extent | None:
        """The old data that it copies; None: none."""
        return Extent(self.origin, self.first, self.blocks) if self.code == COPY else None


class Window(NamedTuple):
    """A window of a new image that is not all zeros."""

    number: int
    """Its offset in units of WINDOW_BYTES."""
    sha256: bytes
    """That of release.idx."""
    operations: tuple[Operation, ...]
    """They fill it from its first block to its last."""


def distances(runs: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Give, for each run of a start and a length, how far it is from the end of the one before, modulo 2^32."""
    end = 0
    for start, length in runs:
        yield (start - end) % (1 << 32)
        end = start + length


def starts(distances: Iterable[int], lengths: Iterable[int]) -> Iterator[int]:
    """Give the start of each run, out of what `distances` gave."""
    end = 0
    for distance, length in zip(distances, lengths, strict=True):
        start = (end + distance) % (1 << 32)
        yield start
        end = start + length
