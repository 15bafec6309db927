"""Every fault at every write and flush of what a test does: the cases, and the table of what came of them."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from support.ending import end_if_asked
from support.faultydisk import MODES

KEPT = {"lost": 0, "part": 0.5}
"""How likely what was not flushed survives a power cut, by mode; elsewhere it always does."""


class Case(NamedTuple):
    """The n-th write or flush, counted from 1, and what happens to it; the modes are explained in faultydisk."""

    event: int | None
    """None: the power goes when all is done, however many there were."""
    mode: str
    name: str | None = None
    """Of which events it is the n-th, such as "write disk"; None: of all."""


def all_cases(events: int) -> list[Case]:
    """Every mode at every event."""
    return [Case(event, mode) for event in range(1, events + 1) for mode in MODES]


def run_all(events: Sequence[str], run_case: Callable[[Case], str], outcomes: Sequence[str]) -> bool:
    """Run all cases, print what became of them by disk and mode, and return whether all were as they have to be.

    Args:
        events: the writes and flushes, as the disks name them.
        run_case: runs one and returns its outcome, or raises AssertionError.
        outcomes: all that it returns.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    failed = []
    cases = all_cases(len(events))
    for number, case in enumerate(cases, 1):
        end_if_asked()
        assert case.event is not None, "all cases are at an event"
        disk = events[case.event - 1].split()[1]
        try:
            outcome = run_case(case)
        except AssertionError as error:
            failed.append(f"{case}: {error}")
            outcome = "WRONG"
        counts[disk, case.mode, outcome] += 1
        print(f"\r{number} of {len(cases)} faults", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    columns = (*outcomes, "WRONG")
    print(", ".join(f"{count} {kind}" for kind, count in sorted(Counter(events).items())))
    print(f"{'':8}" + "".join(f"{mode:>12}" for mode in MODES) + f"   {'/'.join(columns)}")
    for disk in dict.fromkeys(event.split()[1] for event in events):
        cells = ["/".join(str(counts[disk, mode, end]) for end in columns) for mode in MODES]
        print(f"{disk:8}" + "".join(f"{cell:>12}" for cell in cells))
    print(f"{len(cases)} faults, {len(failed)} wrong", *failed, sep="\n")
    return not failed
