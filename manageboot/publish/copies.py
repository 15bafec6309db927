"""Finds the blocks of new images in old ones, wherever they are there.

Blocks are found by a hash of 64 bits that numpy computes, and compared byte by byte. Of several equal blocks the one is
taken that goes on a run, so that few runs have to be told.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from manageboot.publish.content import Content
from manageboot.release.layout import BLOCK_BYTES, WINDOW_BLOCKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FACTORS = np.frombuffer(hashlib.shake_256(b"manageboot: blocks").digest(BLOCK_BYTES), dtype="<u8") | np.uint64(1)
_NONE = -1


class Run(NamedTuple):
    """Blocks of a new image that an old one has."""

    start: int
    """The first of them in the new image."""
    blocks: int
    image: int
    """The number of the old image."""
    first: int
    """The first of them there."""


class OldBlocks:
    """The blocks of old images, by their content."""

    def __init__(self, old: Sequence[Content]) -> None:
        self._old = old
        self._bases: list[int] = []
        hashes = []
        base = 0
        for content in old:
            self._bases.append(base)
            hashes += [_hashes(content), np.zeros(1, np.uint64)]  # no block is equal to what is between two images
            base += content.blocks + 1
        known = np.concatenate(hashes)
        self._order = np.argsort(known, kind="stable")
        self._sorted = known[self._order]
        self._hashes: list[int] = known.tolist()

    def copies(self, new: Content) -> Iterator[Run]:
        """Give what the old images have of a new one, in order; runs do not overlap."""
        origins = self._origins(new)
        start = 0
        while start < len(origins):
            end = start + 1
            while end < len(origins) and origins[end] == origins[start] + end - start:
                end += 1
            if origins[start] != _NONE:
                image = bisect_right(self._bases, origins[start]) - 1
                run = Run(start, end - start, image, origins[start] - self._bases[image])
                if _is_equal(new, self._old[image], run):
                    yield run
            start = end

    def _origins(self, new: Content) -> list[int]:
        """Return for each block of a new image an old block that should be equal, counted over all old images."""
        hashes = _hashes(new)
        places = np.minimum(np.searchsorted(self._sorted, hashes), len(self._sorted) - 1)
        found = (self._sorted[places] == hashes) & (hashes != 0)
        origins: list[int] = np.where(found, self._order[places], _NONE).tolist()
        wanted: list[int] = hashes.tolist()
        home = next((base for base, one in zip(self._bases, self._old, strict=True) if one.role == new.role), 0)
        # On from the run before, else the same place as in the new image, else the first there is.
        shift = home
        for at, origin in enumerate(origins):
            if origin == _NONE:
                continue
            if self._has(at + shift, wanted[at]):
                origins[at] = at + shift
            elif self._has(at + home, wanted[at]):
                origins[at], shift = at + home, home
            else:
                shift = origin - at
        # And back from the run behind, which may begin with blocks that are in many places.
        for at in range(len(origins) - 2, -1, -1):
            if origins[at] != _NONE and origins[at + 1] != _NONE and self._has(origins[at + 1] - 1, wanted[at]):
                origins[at] = origins[at + 1] - 1
        return origins

    def _has(self, block: int, wanted: int) -> bool:
        return 0 <= block < len(self._hashes) and self._hashes[block] == wanted


def _hashes(content: Content) -> "NDArray[np.uint64]":
    """Return a hash for each block of an image; that of zeros is 0."""
    hashes = np.zeros(content.blocks, np.uint64)
    for number in content.windows:
        blocks = np.frombuffer(content.window(number), dtype="<u8").reshape(-1, BLOCK_BYTES // 8)
        first = number * WINDOW_BLOCKS
        hashes[first : first + len(blocks)] = (blocks * _FACTORS).sum(axis=1, dtype=np.uint64)
    return hashes


def _is_equal(new: Content, old: Content, run: Run) -> bool:
    for done in range(0, run.blocks, WINDOW_BLOCKS):
        count = min(WINDOW_BLOCKS, run.blocks - done)
        ours = np.frombuffer(new.extent(run.start + done, count), np.uint8)
        if not np.array_equal(ours, np.frombuffer(old.extent(run.first + done, count), np.uint8)):
            return False
    return True
