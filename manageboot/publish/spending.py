"""Where the bytes of a delta go: which part of the new images each frame is for."""

from collections.abc import Sequence

import numpy as np

from manageboot.release.delta import DeltaIndex
from manageboot.release.layout import BLOCK_BYTES, WINDOW_BLOCKS

Ranges = Sequence[tuple[int, int]]
"""Parts of an image: offset and length, in bytes."""


class Spending:
    """What of a pack is for which part of one image.

    The blocks of a frame count alike, though some of them may be compressed better than others. A block that several
    windows need counts for the first.
    """

    def __init__(self, delta: DeltaIndex, image: int, blocks: int) -> None:
        """Look through the windows of an image.

        Args:
            delta: the index of the delta.
            image: the number of the image.
            blocks: how many it has.
        """
        self._new = np.zeros(blocks, np.bool_)
        costs = np.zeros(blocks)
        # A frame holds new data of the first window that needs it; the images before this one have had theirs.
        known = {op.frame for number in range(image) for window in delta.windows(number) for op in window.operations}
        for window in delta.windows(image):
            at = window.number * WINDOW_BLOCKS
            for op in window.operations:
                if op.frame is not None and op.frame not in known:
                    frame = delta.frame(op.frame)
                    costs[at : at + op.blocks] = frame.size / frame.blocks
                    self._new[at : at + op.blocks] = True
                at += op.blocks
            known |= {op.frame for op in window.operations}
        self._places = np.arange(blocks + 1) * BLOCK_BYTES
        self._sums = np.append(0, np.cumsum(costs))

    @property
    def bytes(self) -> int:
        """What the whole image takes."""
        return round(float(self._sums[-1]))

    def of(self, parts: Sequence[Ranges]) -> list[float]:
        """Return how many bytes of the pack each of some parts takes."""
        owners = [number for number, ranges in enumerate(parts) for _ in ranges]
        begins, lengths = (np.array([one[at] for ranges in parts for one in ranges], np.int64) for at in (0, 1))
        costs = np.interp(begins + lengths, self._places, self._sums) - np.interp(begins, self._places, self._sums)
        total = np.zeros(len(parts))
        np.add.at(total, owners, costs)
        return list(map(float, total))

    def new_blocks(self, ranges: Ranges) -> list[int]:
        """Return the blocks of a part that are in frames, by their numbers."""
        found: list[int] = []
        for begin, length in ranges:
            first, end = begin // BLOCK_BYTES, -(-(begin + length) // BLOCK_BYTES)
            found += (np.flatnonzero(self._new[first:end]) + first).tolist()
        return found
