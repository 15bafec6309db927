"""What a disk may hold when the power goes: every prefix of a recording, and what a cache may have done to its end.

A *reset* loses nothing that the disk was asked for: the state is a prefix. A *power cut* may also lose, reorder or tear
what was written since the last flush. A sector of 512 bytes is never torn.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import combinations, groupby
from typing import NamedTuple

SECTOR = 512
ALL_SUBSETS = 5
"""With at most so many writes since the last flush, each subset of them is tried; beyond that, a sample."""
TORN_PLACES = 2
"""At how many places a write is torn at most."""


class Cut(NamedTuple):
    """One state: all that was flushed, and of what was written since, these pieces."""

    position: int
    """The request after which the power goes, counted from 0."""
    kind: str
    """reset; lost: of what was not flushed, something is; torn: its last write is; told: a step has just ended."""
    kept: tuple[int, ...] | None = None
    """The writes since the last flush that landed, by their place among them; None: all."""
    torn: tuple[int, int] | None = None
    """Of the last one of those kept, the sectors from this one up to that one landed, and no others."""

    @property
    def label(self) -> str:
        """A word by which it can be named on a command line."""
        kept = "all" if self.kept is None else _ranges(self.kept) or "none"
        torn = "" if self.torn is None else f":{self.torn[0]}-{self.torn[1]}"
        return f"{self.position}:{self.kind}:{kept}{torn}"


def parse(label: str) -> Cut:
    """Read the word of a cut.

    Raises:
        ValueError: it is none.
    """
    position, kind, kept, *torn = label.split(":")
    numbers: tuple[int, ...] | None = None
    if kept != "all":
        pairs = [piece.split("-") for piece in kept.split(",") if kept != "none"]
        numbers = tuple(number for pair in pairs for number in range(int(pair[0]), int(pair[-1]) + 1))
    if torn:
        begin, end = torn[0].split("-")
        return Cut(int(position), kind, numbers, (int(begin), int(end)))
    return Cut(int(position), kind, numbers)


def losses(
    position: int, sizes: Sequence[int], dice: random.Random, samples: int, *, near: bool, torn: bool
) -> Iterator[Cut]:
    """Say what a power cut may leave when a write has just been asked for.

    Only states in which this last write has landed, or a piece of it: the others were told at the writes before it.

    Args:
        position: of the write.
        sizes: of the writes since the last flush, this one included, in bytes.
        dice: for samples.
        samples: how many where there are too many for all.
        near: whether only few writes may be lost.
        torn: whether the last write may be torn.
    """
    last = len(sizes) - 1
    for kept in subsets(last, dice, samples, near=near):
        yield Cut(position, "lost", (*kept, last))
    sectors = sizes[last] // SECTOR
    places = range(1, sectors) if torn else range(0)
    for place in dice.sample(places, TORN_PLACES) if len(places) > TORN_PLACES else places:
        for piece in ((0, place), (place, sectors)):
            yield Cut(position, "torn", tuple(range(last + 1)), piece)


def subsets(count: int, dice: random.Random, samples: int, *, near: bool) -> Iterator[tuple[int, ...]]:
    """Choose which of so many writes land, but not all of them.

    Args:
        count: how many there are.
        dice: for samples.
        samples: how many where there are too many for all.
        near: whether only few writes may be lost.
    """
    everything = range(count)
    if count == 0:
        return
    if count <= ALL_SUBSETS:
        yield from (kept for size in range(count) for kept in combinations(everything, size))
        return
    # One that was left behind by all others: the first, the last, and any.
    lost = {(0,), (count - 1,)}
    lost |= {tuple(sorted(dice.sample(everything, dice.randint(1, 3)))) for _ in range(samples)}
    if not near:
        lost |= {tuple(everything)}
        lost |= {tuple(number for number in everything if dice.random() < 0.5) for _ in range(samples)}
    for some in sorted(lost):
        if some:
            yield tuple(number for number in everything if number not in set(some))


def _ranges(numbers: Sequence[int]) -> str:
    runs = [[number for _, number in group] for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
