"""Where the bytes of a delta go: what of its pack is for which part of the new images."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from manageboot.publish.content import Content
from manageboot.release.delta import DeltaIndex
from manageboot.release.layout import BLOCK_BYTES, WINDOW_BLOCKS

Ranges = Sequence[tuple[int, int]]
"""Parts of an image: offset and length, in bytes."""

_LEVEL = 3
_TABLE_LOG = 20
"""Of the tables of zstd: a dictionary of 2 MiB has room there."""


def total(delta: DeltaIndex, image: int) -> int:
    """Return what of a pack is for the new data of an image, by its number."""
    return sum(delta.frame(number).size for number, _ in _frames(delta, image))


class Spending:
    """What of a pack is for which part of one image.

    Each frame is compressed once more, block by block, to see how its bytes are spread: two files of a frame may cost
    very different amounts. So the figures are near the truth, and together they are it. What several windows need
    counts for the first.
    """

    def __init__(
        self, delta: DeltaIndex, image: int, old: Sequence[Content], new: Content, report: Callable[[int], None]
    ) -> None:
        """Look through an image.

        Args:
            delta: the index of the delta.
            image: the number of the image.
            old: the images of the old release.
            new: the image itself.
            report: is told how much new data was looked at, in bytes.
        """
        self._new = np.zeros(new.blocks, np.bool_)
        costs = np.zeros(new.blocks)
        done = 0
        for number, blocks in _frames(delta, image):
            dictionary = b"".join(old[one.image].extent(one.first, one.blocks) for one in delta.dictionary(number))
            sizes = np.array(_sizes((new.extent(block, 1) for block in blocks), dictionary))
            costs[blocks] = sizes * (delta.frame(number).size / sizes.sum())
            self._new[blocks] = True
            done += len(blocks) * BLOCK_BYTES
            report(done)
        self._sums = np.append(0, np.cumsum(costs))

    def of(self, ranges: Ranges) -> float:
        """Return how many bytes of the pack some parts of the image take."""
        return sum(self._until(begin + length) - self._until(begin) for begin, length in ranges)

    def new(self, ranges: Ranges) -> list[tuple[int, int]]:
        """Return what of some parts is in frames, in pieces of a block at most."""
        found: list[tuple[int, int]] = []
        for begin, length in ranges:
            first, end = begin // BLOCK_BYTES, begin + length
            for block in (np.flatnonzero(self._new[first : -(-end // BLOCK_BYTES)]) + first).tolist():
                start = max(begin, block * BLOCK_BYTES)
                found.append((start, min(end, (block + 1) * BLOCK_BYTES) - start))
        return found

    def _until(self, offset: int) -> float:
        block, rest = divmod(offset, BLOCK_BYTES)
        cost = self._sums[block]
        if rest:
            cost += (self._sums[block + 1] - cost) * rest / BLOCK_BYTES
        return float(cost)


def _frames(delta: DeltaIndex, image: int) -> Iterator[tuple[int, list[int]]]:
    """Give the frames that hold new data of an image, each with the blocks there that it is for."""
    # A frame holds new data of the first window that needs it; the images before this one have had theirs.
    known = {op.frame for number in range(image) for window in delta.windows(number) for op in window.operations}
    for window in delta.windows(image):
        at = window.number * WINDOW_BLOCKS
        blocks: dict[int, list[int]] = {}
        for op in window.operations:
            if op.frame is not None and op.frame not in known:
                blocks.setdefault(op.frame, []).extend(range(at, at + op.blocks))
            at += op.blocks
        yield from blocks.items()
        known |= blocks.keys()


def _sizes(pieces: Iterable[memoryview], dictionary: bytes) -> list[int]:
    """Return how much each piece adds when one after the other is compressed."""
    import zstandard

    raw = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if dictionary else None
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, dict_size=len(dictionary), hash_log=_TABLE_LOG, chain_log=_TABLE_LOG
    )
    packer = zstandard.ZstdCompressor(dict_data=raw, compression_params=parameters).compressobj()
    flush = zstandard.COMPRESSOBJ_FLUSH_BLOCK
    return [len(packer.compress(piece)) + len(packer.flush(flush)) for piece in pieces]
