"""Every fault at every write and flush of an installation, and kills at random instants: `python -m install.crash`.

It prints how many there were and what became of the slot, and exits with 1 if anything was not as it has to be.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from install.cases import all_cases, count_events, run_case
from install.crashnode import DISKS, crash_node
from install.kills import kill_many
from support.ending import end_if_asked, listen
from support.faultydisk import MODES

KILLS = 200
SEED = 4


def _faults(directory: Path) -> bool:
    """Run all cases; return whether all were as they have to be."""
    counts: Counter[tuple[str, str, str]] = Counter()
    failed = []
    with crash_node(directory) as node:
        events = count_events(node)
        cases = all_cases(len(events))
        for number, case in enumerate(cases, 1):
            end_if_asked()
            disk = events[case.event - 1].split()[1]
            try:
                outcome = run_case(node, case)
            except AssertionError as error:
                failed.append(f"{case}: {error}")
                outcome = "WRONG"
            counts[disk, case.mode, outcome] += 1
            print(f"\r{number} of {len(cases)} faults", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    kinds = Counter(events)
    print(", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    print(f"{'':8}" + "".join(f"{mode:>12}" for mode in MODES) + "   void/complete/WRONG")
    for disk in DISKS:
        cells = ["/".join(str(counts[disk, mode, end]) for end in ("void", "complete", "WRONG")) for mode in MODES]
        print(f"{disk:8}" + "".join(f"{cell:>12}" for cell in cells))
    print(f"{len(cases)} faults, {len(failed)} wrong", *failed, sep="\n")
    return not failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m install.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help="how many installations to kill")
    parser.add_argument("--no-faults", action="store_true", help="only kill")
    options = parser.parse_args()
    listen()
    with tempfile.TemporaryDirectory() as directory:
        good = options.no_faults or _faults(Path(directory) / "faults")
        if options.kills:
            counts = kill_many(Path(directory) / "kills", options.kills, seed=SEED)
            print(f"{options.kills} kills: {counts['void']} void, {counts['complete']} complete;", end=" ")
            print(f"the second installation succeeded after all of them, and resumed {counts['resumed']}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
