"""What the runs say: each contestant beside another one of the same round, never beside one of another time."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.measure import Result
from bench.rounds import Run


class Ratio(NamedTuple):
    """How many times as long as another one, of all rounds in which both took part."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


class Figures(NamedTuple):
    """Of one contestant."""

    name: str
    medians: Result
    identical: bool
    """In all rounds."""
    of_floor: Ratio | None
    of_ours: Ratio | None
    cpu_of_ours: Ratio | None

    def as_json(self) -> dict[str, Any]:
        """Return them as what JSON has."""
        ratios = {"of_floor": self.of_floor, "of_ours": self.of_ours, "cpu_of_ours": self.cpu_of_ours}
        return {
            "name": self.name,
            "identical": self.identical,
            **self.medians._asdict(),
            **{key: None if ratio is None else ratio._asdict() for key, ratio in ratios.items()},
        }


def summarize(runs: Sequence[Run], floor: str, ours: str) -> list[Figures]:
    """Return the figures of each contestant, in the order of their first runs.

    Args:
        runs: of all of them; a last round may be incomplete.
        floor: the name of the one that all are compared with first.
        ours: the name of the one that all are compared with then.
    """
    found = []
    for name in dict.fromkeys(run.name for run in runs):
        own = [run for run in runs if run.name == name]
        medians = Result(*(statistics.median(values) for values in zip(*(run.result for run in own), strict=True)))
        identical = all(run.identical for run in own)
        ratios = (_ratio(runs, name, to, "wall_s") for to in (floor, ours))
        found.append(Figures(name, medians, identical, *ratios, _ratio(runs, name, ours, "cpu_s")))
    return found


def _ratio(runs: Sequence[Run], name: str, to: str, of: str) -> Ratio | None:
    base = {run.round: getattr(run.result, of) for run in runs if run.name == to}
    ratios = [getattr(run.result, of) / base[run.round] for run in runs if run.name == name and base.get(run.round)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios)) if ratios else None


def table(figures: Sequence[Figures], floor: str, ours: str) -> str:
    """Return a table for people, as docs/bench.md has it."""
    lines = [
        f"| | wall s | CPU s | peak MiB | written MiB | temporary MiB | of `{floor}` | of {ours} | its CPU |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in figures:
        cells = [one.name + ("" if one.identical else " (old data in the holes)")]
        cells += [f"{one.medians.wall_s:.2f}", f"{one.medians.cpu_s:.2f}"]
        cells += [f"{value:.0f}" for value in one.medians[2:]]
        cells += ["" if ratio is None else str(ratio) for ratio in (one.of_floor, one.of_ours, one.cpu_of_ours)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
