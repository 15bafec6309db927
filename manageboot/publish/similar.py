"""Finds old data that is similar to new data: what a dictionary is made of.

Anchors are places where a hash over 24 bytes has a certain form, one in 32 of them. They move with the data, so data
that was shifted by some bytes is found as well. Each anchor of new data votes for the units of 16 KiB that have it in
the old images. Units are taken until the dictionary is full, always the one with most anchors that no unit has yet.
One that has few is taken only near another one: so a dictionary is read in a sixth of the requests, and the pack is by
half a percent larger.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heapreplace
from typing import TYPE_CHECKING

import numpy as np

from manageboot.publish.content import Content
from manageboot.release.deltalayout import Extent
from manageboot.release.layout import BLOCK_BYTES, WINDOW_BLOCKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNIT_BLOCKS = 4
"""16 KiB of old data."""
_UNITS_OF_A_WINDOW = WINDOW_BLOCKS // UNIT_BLOCKS
_SPAN_BYTES = 24
_SAMPLED_SHIFT, _SAMPLED = np.uint64(59), np.uint64(1)
"""One hash in 32, and never that of zeros."""
_KEY_SHIFT = np.uint64(27)
_FACTORS = [
    np.uint64(int.from_bytes(hashlib.sha256(b"manageboot: anchors %d" % at).digest()[:8], "little") | 1)
    for at in range(3)
]
_FILTER_SHIFT = 5
"""Keys have 32 bits, and the filter a place for each 32 of them."""
_UNITS_OF_AN_ANCHOR_MAX = 16
"""What is in more places than that says little of where to look; the first ones are enough."""
_GAIN_MIN = 2
"""How many anchors a unit has to have for itself, to be worth its place."""
_ALONE_GAIN_MIN = 16
"""The same of a unit that lies near no other one: a node has to read it in a request of its own."""
_NEAR_UNITS = 5
"""So far apart are two units at most that a node reads in one request, with what is between them."""


def anchors(data: "NDArray[np.uint8]") -> "tuple[NDArray[np.uint32], NDArray[np.int64]]":
    """Return the anchors of some bytes: the key of each, which equal data has as well, and where it is."""
    keys, places = [], []
    for shift in range(8):
        words = data[shift : shift + (len(data) - shift) // 8 * 8].view("<u8")
        if len(words) < _SPAN_BYTES // 8:
            continue
        hashes = words[:-2] * _FACTORS[0]
        hashes += words[1:-1] * _FACTORS[1]
        hashes += words[2:] * _FACTORS[2]
        chosen = np.flatnonzero(hashes >> _SAMPLED_SHIFT == _SAMPLED)
        keys.append((hashes[chosen] >> _KEY_SHIFT).astype(np.uint32))
        places.append(chosen * 8 + shift)
    if not keys:
        return np.zeros(0, np.uint32), np.zeros(0, np.int64)
    return np.concatenate(keys), np.concatenate(places)


class Wanted:
    """The anchors of new data; those of old data that it can't have are left out, which saves most of the memory."""

    def __init__(self) -> None:
        self._filter = np.zeros(1 << (32 - _FILTER_SHIFT), np.bool_)

    def add(self, data: bytes) -> None:
        """Add some new data."""
        keys, _ = anchors(np.frombuffer(data, np.uint8))
        self._filter[keys >> _FILTER_SHIFT] = True

    def of(self, keys: "NDArray[np.uint32]") -> "NDArray[np.bool_]":
        """Say which keys may be among them."""
        found: NDArray[np.bool_] = self._filter[keys >> _FILTER_SHIFT]
        return found


class OldUnits:
    """The units of old images, by their anchors."""

    def __init__(
        self, old: Sequence[Content], wanted: Wanted, each: Callable[..., "Iterable[NDArray[np.uint64]]"]
    ) -> None:
        """Look through old images.

        Args:
            old: the images.
            wanted: the anchors that count.
            each: calls a function for each element of a sequence, as `map` does, in several threads perhaps.
        """
        self._old = old
        self._bases: list[int] = []
        windows = []
        base = 0
        for content in old:
            self._bases.append(base)
            windows += [(content, number, base) for number in content.windows]
            base += -(-content.blocks // UNIT_BLOCKS)

        def pairs_of(place: tuple[Content, int, int]) -> "NDArray[np.uint64]":
            content, number, base = place
            keys, places = anchors(np.frombuffer(content.window(number), np.uint8))
            chosen = wanted.of(keys)
            units = places[chosen] // (UNIT_BLOCKS * BLOCK_BYTES) + (base + number * _UNITS_OF_A_WINDOW)
            return np.unique(keys[chosen].astype(np.uint64) << np.uint64(32) | units.astype(np.uint64))

        pairs = np.sort(np.concatenate([np.zeros(0, np.uint64), *each(pairs_of, windows)]))
        keys = (pairs >> np.uint64(32)).astype(np.uint32)
        begins = _begins(keys)
        rank = np.arange(len(keys)) - np.repeat(begins, np.diff(begins, append=len(keys)))
        few = rank < _UNITS_OF_AN_ANCHOR_MAX
        self._keys = keys[few]
        self._units = (pairs[few] & np.uint64(0xFFFFFFFF)).astype(np.uint32)

    def similar(self, data: bytes, blocks: int) -> tuple[Extent, ...]:
        """Return extents of the old images that are similar to some new data, in order; none touches another.

        Args:
            data: what is new.
            blocks: how many they may have together.
        """
        keys = np.unique(anchors(np.frombuffer(data, np.uint8))[0])
        begins, ends = np.searchsorted(self._keys, keys, "left"), np.searchsorted(self._keys, keys, "right")
        counts = ends - begins
        total = int(counts.sum())
        # The rows of all ranges, one after the other.
        rows = np.arange(total) + np.repeat(begins - (np.cumsum(counts) - counts), counts)
        units, voters = self._units[rows], np.repeat(np.arange(len(keys)), counts)
        return self._extents(sorted(_chosen(units, voters, len(keys), blocks // UNIT_BLOCKS)))

    def _extents(self, units: Iterable[int]) -> tuple[Extent, ...]:
        """Turn units into extents, neighbours into one."""
        found: list[Extent] = []
        for unit in units:
            image = bisect_right(self._bases, unit) - 1
            first = (unit - self._bases[image]) * UNIT_BLOCKS
            blocks = min(UNIT_BLOCKS, self._old[image].blocks - first)
            last = found[-1] if found else None
            if last is not None and last.image == image and last.first + last.blocks == first:
                found[-1] = last._replace(blocks=last.blocks + blocks)
            else:
                found.append(Extent(image, first, blocks))
        return tuple(found)


def _chosen(units: "NDArray[np.uint32]", voters: "NDArray[np.int64]", voter_count: int, most: int) -> Iterator[int]:
    """Give the units that cover most anchors, one after the other.

    What a unit would add only falls while others are taken. So a unit whose value is still the highest after it was
    computed again is the best one, and the others need not be looked at.
    """
    order = np.argsort(units, kind="stable")
    units, voters = units[order], voters[order]
    begins = _begins(units)
    ends = np.append(begins, len(units))[1:]
    heap = list(zip((begins - ends).tolist(), units[begins].tolist(), begins.tolist(), ends.tolist(), strict=True))
    heapify(heap)
    uncovered = np.ones(voter_count, np.bool_)
    taken: set[int] = set()
    while heap and len(taken) < most:
        _, unit, begin, end = heap[0]
        ours = voters[begin:end]
        gain = int(np.count_nonzero(uncovered[ours]))
        if gain < _GAIN_MIN:
            heappop(heap)
        elif len(heap) > 1 and (-gain, unit) > min(heap[1:3])[:2]:
            heapreplace(heap, (-gain, unit, begin, end))
        else:
            heappop(heap)
            if gain >= _ALONE_GAIN_MIN or not taken.isdisjoint(range(unit - _NEAR_UNITS, unit + _NEAR_UNITS + 1)):
                uncovered[ours] = False
                taken.add(unit)
                yield unit


def _begins(numbers: "NDArray[np.uint32]") -> "NDArray[np.int64]":
    """Return where numbers that are sorted begin to be others."""
    return np.flatnonzero(np.concatenate([np.ones(min(1, len(numbers)), np.bool_), numbers[1:] != numbers[:-1]]))
