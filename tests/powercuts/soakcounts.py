"""What a soak has come to: counts, as JSON and as a table."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from manageboot.system import files
from powercuts.soaknode import Cutting
from powercuts.soakplan import Phase

SCHEMA = 2


def to_json(cuttings: Sequence[Cutting], *, seed: int, nodes: int, wanted: int, runs: int) -> dict[str, Any]:
    """Count.

    Args:
        cuttings: all power cuts, of all nodes.
        seed: of the dice.
        nodes: how many nodes there were.
        wanted: how many cuts were asked for.
        runs: how many runs these are the cuts of.
    """
    phases = Counter(cutting.phase for cutting in cuttings)
    return {
        "schema": SCHEMA,
        "seed": seed,
        "nodes": nodes,
        "wanted": wanted,
        "runs": runs,
        "seconds": round(sum(cutting.seconds for cutting in cuttings) / nodes),
        "cpu_seconds": round(sum(cutting.cpu_seconds for cutting in cuttings)),
        "cuts": len(cuttings),
        "phases": {phase.value: phases[phase.value] for phase in Phase},
        "at_a_write": sum(cutting.at_write for cutting in cuttings),
        "losses": dict(sorted(Counter(cutting.loss.split(":")[1] for cutting in cuttings).items())),
        "with_pending_writes": sum(cutting.pending > 0 for cutting in cuttings),
        "boots": sum(cutting.boots for cutting in cuttings),
        "cycles": sum(cutting.confirmed for cutting in cuttings),
        "verbs": dict(sorted(Counter(verb for cutting in cuttings for verb in cutting.verbs).items())),
        "fallbacks": dict(sorted(Counter(cause for cutting in cuttings for cause in cutting.fallbacks).items())),
        "bricks": sum(not cutting.slot for cutting in cuttings),
        "violations": [asdict(cutting) for cutting in cuttings if cutting.wrong],
    }


def to_table(counts: dict[str, Any]) -> str:
    """Write the counts for a person."""
    rows = [
        ("cuts", f"{counts['cuts']} of {counts['wanted']}"),
        *((f"  {phase}", str(count)) for phase, count in counts["phases"].items()),
        ("runs", str(counts["runs"])),
        ("seconds a cut", _each(counts["seconds"], counts["cuts"])),
        ("  of processor time", _each(counts["cpu_seconds"], counts["cuts"])),
        ("at a write that was waited for", str(counts["at_a_write"])),
        ("with writes not flushed", str(counts["with_pending_writes"])),
        *((f"  {loss}", str(count)) for loss, count in counts["losses"].items()),
        ("boots", str(counts["boots"])),
        ("confirmed upgrades", str(counts["cycles"])),
        ("fallbacks", str(sum(counts["fallbacks"].values()))),
        *((f"  {cause}", str(count)) for cause, count in counts["fallbacks"].items()),
        ("bricks", str(counts["bricks"])),
        ("violations, bricks among them", str(len(counts["violations"]))),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value:>10}" for name, value in rows)


def _each(seconds: int, cuts: int) -> str:
    return f"{seconds / cuts:.1f}" if cuts else "-"


def write(path: Path, counts: dict[str, Any]) -> None:
    """Write the counts as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(str(path), f"{json.dumps(counts, indent=1)}\n".encode())
