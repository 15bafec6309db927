"""What the runs say: the medians of each way, and its ratios to another one, of the same round each."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from bench.figures import Ratio
from bench.payload import MIB


class Run(NamedTuple):
    """One run of one way."""

    round: int
    """The first is 1."""
    name: str
    wall_s: float | None
    """None, as all that follows up to what was fetched: it ran in a guest, where that means nothing."""
    cpu_s: float | None
    peak_mib: float | None
    """Of the largest of its processes."""
    temporary_mib: float | None
    """The most that it had in temporary files."""
    fetched: int
    """What the server sent, in bytes, headers included."""
    requests: int


def table(runs: Sequence[Run], full: str, archive: str) -> str:
    """Return a table for people.

    Args:
        runs: of one pair on one line; a last round may be incomplete.
        full: the name of the way whose times the others are compared with.
        archive: the name of the way whose bytes the others are compared with.
    """
    columns = ["", "fetched MiB", f"of {archive}", "requests", "wall s", "CPU s", "peak MiB", "temporary MiB"]
    lines = [_row([*columns, f"of {full}", "its CPU"]), f"|---|{'--:|' * 9}"]
    most = next((run.fetched for run in runs if run.name == archive), 0)
    for name in dict.fromkeys(run.name for run in runs):
        own = [run for run in runs if run.name == name]
        fetched, requests = (statistics.median(getattr(run, of) for run in own) for of in ("fetched", "requests"))
        share = f"{100 * fetched / most:.1f} %" if most else ""
        cells = [name, f"{fetched / MIB:.1f}", share, f"{requests:.0f}"]
        for of, digits in (("wall_s", 2), ("cpu_s", 2), ("peak_mib", 0), ("temporary_mib", 0)):
            known = [value for run in own if (value := getattr(run, of)) is not None]
            cells.append(f"{statistics.median(known):.{digits}f}" if known else "")
        cells += [str(_ratio(runs, name, full, of) or "") for of in ("wall_s", "cpu_s")]
        lines.append(_row(cells))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ratio(runs: Sequence[Run], name: str, to: str, of: str) -> Ratio | None:
    base = {run.round: getattr(run, of) for run in runs if run.name == to}
    own = [(run.round, getattr(run, of)) for run in runs if run.name == name]
    ratios = [value / base[number] for number, value in own if value is not None and base.get(number)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios)) if ratios else None
