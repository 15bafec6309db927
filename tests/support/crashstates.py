"""The states that a power cut can leave: what was flushed is there; of the rest any part may be, torn at a sector."""

import itertools
import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.support.crashlog import Event, Flush, Image, Write, apply

ALL_SUBSETS_OF = 5
"""Up to so many writes between two flushes, every subset is tried; of more, a part."""
SAMPLED_SUBSETS = 16


Reading = tuple[str, ...]
"""What is read of a disk, in words."""


class Phase(NamedTuple):
    """A part of a recording, and what may be read if the power is cut in it."""

    events: list[Event]
    allowed: frozenset[Reading]


class State(NamedTuple):
    """One state of the disk after a power cut."""

    changes: Image
    """The sectors that were written since the beginning."""
    torn: bool
    allowed: frozenset[Reading]


def crash_states(phases: Iterable[Phase]) -> Iterator[State]:
    """Yield each state once. What one phase leaves in the drive's cache can still be lost in the next."""
    seen: set[int] = set()
    flushed: Image = {}
    pending: list[Write] = []
    for phase in phases:
        for state in _states(flushed, pending, phase.allowed):
            yield from _once(state, seen)
        for event in phase.events:
            if isinstance(event, Flush):
                for write in pending:
                    apply(flushed, write)
                pending = []
                continue
            pending.append(event)
            for state in _states(flushed, pending, phase.allowed):
                yield from _once(state, seen)


def _states(flushed: Image, pending: list[Write], allowed: frozenset[Reading]) -> Iterator[State]:
    """Yield the states in which some of the pending writes are on the disk, and the newest whole or torn."""
    for subset in _subsets(pending):
        yield State(_with(flushed, subset), False, allowed)
    if pending:
        *others, newest = pending
        for part in _torn(newest):
            for subset in ((), tuple(others)):
                changes = _with(flushed, subset)
                changes.update(part)
                yield State(changes, True, allowed)


def _subsets(writes: list[Write]) -> Iterable[tuple[Write, ...]]:
    if len(writes) <= ALL_SUBSETS_OF:
        return itertools.chain.from_iterable(itertools.combinations(writes, size) for size in range(len(writes) + 1))
    dice = random.Random(len(writes))
    chosen = [tuple(writes), (), *((write,) for write in writes)]
    chosen += [tuple(write for write in writes if write is not missing) for missing in writes]
    chosen += [tuple(write for write in writes if dice.random() < 0.5) for _ in range(SAMPLED_SUBSETS)]
    return chosen


def _torn(write: Write) -> Iterator[Image]:
    """Yield each beginning and each end of the write, cut between two sectors."""
    sectors = list(write.sectors())
    for cut in range(1, len(sectors)):
        yield dict(sectors[:cut])
        yield dict(sectors[cut:])


def _with(flushed: Image, writes: Iterable[Write]) -> Image:
    changes = dict(flushed)
    for write in writes:
        apply(changes, write)
    return changes


def _once(state: State, seen: set[int]) -> Iterator[State]:
    mark = hash((state.allowed, frozenset(state.changes.items())))
    if mark not in seen:
        seen.add(mark)
        yield state
