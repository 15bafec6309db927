"""What a campaign has found: as JSON, and as one page that needs nothing else."""

import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from manageboot.system import files
from powercuts.campaign import Result
from support import judges

SCHEMA = 1
JUDGE = "cd tests && PYTHONPATH=../qemu-harness ../.venv/bin/python -m powercuts judge"
"""The command that judges one state once more; a recording and a cut follow."""
_HOME = Path(__file__).parent
_PARTS = {"/*STYLE*/": ("page.css",), "/*SCRIPT*/": ("timeline.js", "page.js")}
_RESULT = "/*RESULT*/null"


def write_report(
    directory: Path, results: Sequence[Result], *, seed: int, samples: int, seconds: float, missing: Sequence[str]
) -> None:
    """Write `power-cuts.json` and `index.html`.

    Args:
        directory: is made.
        results: of the recordings.
        seed: of the samples.
        samples: how many losses were tried at a write, where there were too many for all.
        seconds: how long it took.
        missing: the recordings of which nothing is known, yet or at all.
    """
    directory.mkdir(parents=True, exist_ok=True)
    found = to_json(results, seed=seed, samples=samples, seconds=seconds, versions=_versions())
    found["missing"] = list(missing)
    # Whoever looks on meanwhile sees the one before, or this one.
    for name, text in (("power-cuts.json", f"{_compact(found)}\n"), ("index.html", to_page(found))):
        files.replace(str(directory / name), text.encode())


def to_page(found: dict[str, Any]) -> str:
    """Put what the JSON says, style and scripts into one page, which needs nothing else."""
    page = (_HOME / "page.html").read_text()
    for place, names in _PARTS.items():
        page = page.replace(place, "".join((_HOME / name).read_text() for name in names))
    # In a script, neither its end nor the beginning of a comment may stand; both begin with this character.
    return page.replace(_RESULT, _compact(found).replace("<", "\\u003c"))


def _versions() -> dict[str, str]:
    """Name what has recorded and judged, each with its version."""
    return {
        "judging GRUB": judges.version(),
        "QEMU": _first_line("qemu-system-x86_64", "--version"),
        "Python": platform.python_version(),
        "kernel": platform.release(),
    }


def to_json(
    results: Sequence[Result], *, seed: int, samples: int, seconds: float, versions: dict[str, str]
) -> dict[str, Any]:
    """Gather what the report says; its own counts are those of manageboot alone, and not of other procedures."""
    ours = [result for result in results if not result.peers]
    return {
        "schema": SCHEMA,
        "seed": seed,
        "samples": samples,
        "seconds": round(seconds),
        "versions": versions,
        "judge": JUDGE,
        "states": sum(result.states for result in ours),
        "violations": sum(len(result.violations) for result in ours),
        "recordings": [
            {
                **result._asdict(),
                "violations": [violation._asdict() for violation in result.violations],
                "by_step": dict(result.by_step),
                "booted": [one._asdict() for one in result.booted],
                "steps": [asdict(step) for step in result.steps],
                # In the order of their fields, since there are many.
                "instants": [list(instant) for instant in result.instants],
            }
            for result in results
        ],
    }


def _compact(found: dict[str, Any]) -> str:
    return json.dumps(found, separators=(",", ":"))


def _first_line(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]
