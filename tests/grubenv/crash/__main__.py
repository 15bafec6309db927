"""`python -m tests.grubenv.crash`: the table of crash states, grubenv and grub-editenv side by side."""

import argparse
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

from tests.grubenv.crash.matrix import Result, judge
from tests.grubenv.crash.operations import OPERATIONS, Operation, key
from tests.grubenv.crash.record_guest import VFAT, fixture
from tests.grubenv.crash.record_host import EXT4, record_ext4
from tests.support.crashlog import Recording, load

MOST_RESTARTS = 10
_HEADINGS = (
    "file system",
    "operation",
    "tool",
    "states",
    "torn",
    "GRUB reads neither",
    "done, yet GRUB reads the old",
    "restarts",
    "not recovered",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.grubenv.crash", description=__doc__)
    parser.add_argument(
        "--restarts",
        type=int,
        default=MOST_RESTARTS,
        metavar="N",
        help="start the system from up to N states of each operation (default: %(default)s)",
    )
    options = parser.parse_args()
    started = time.monotonic()
    work = [
        (index, recordings[key(operation)], kind, options.restarts)
        for kind, recordings in all_recordings()
        for index, operation in enumerate(OPERATIONS)
    ]
    with multiprocessing.Pool() as pool:
        results = pool.starmap(judge_one, work, chunksize=1)
    rows = [(kind, OPERATIONS[index], result) for (index, _, kind, _), result in zip(work, results, strict=True)]
    print(table(rows))
    ours = [result for _, operation, result in rows if operation.tool == "grubenv"]
    theirs = [result for _, operation, result in rows if operation.tool != "grubenv"]
    print(
        f"\ngrubenv: {sum(result.states for result in ours)} states, {sum(result.failures for result in ours)} "
        f"failures. grub-editenv: {sum(result.states for result in theirs)} states, "
        f"{sum(result.failures for result in theirs)} failures. {time.monotonic() - started:.0f} s."
    )
    for kind, operation, result in rows:
        for note in result.notes:
            print(f"{kind}, {key(operation)}: {note}", file=sys.stderr)
    return 1 if any(result.failures for result in ours) else 0


def judge_one(index: int, recording: Recording, kind: str, most_restarts: int) -> Result:
    """Judge the operation with this index, in a process of its own."""
    return judge(OPERATIONS[index], recording, kind, most_restarts)


def all_recordings() -> list[tuple[str, dict[str, Recording]]]:
    """Return the recordings of vfat as they were made in a guest, and those of ext4, made now."""
    found = [(kind, load(fixture(kind))) for kind in VFAT]
    with tempfile.TemporaryDirectory() as scratch:
        found += [(kind, record_ext4(kind, Path(scratch))) for kind in EXT4]
    return found


def table(rows: list[tuple[str, Operation, Result]]) -> str:
    """Return the results as a table in Markdown."""
    lines = ["| " + " | ".join(_HEADINGS) + " |", "|---|---|---|" + "--:|" * (len(_HEADINGS) - 3)]
    for kind, operation, result in sorted(rows, key=lambda row: (row[0], row[1].name, row[1].tool)):
        cells = (
            kind,
            operation.name,
            operation.tool,
            result.states,
            result.torn,
            result.neither,
            result.not_durable,
            result.restarted,
            result.not_recovered,
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
