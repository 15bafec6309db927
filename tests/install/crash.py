"""Every fault at every write and flush of an installation, and kills at random instants: `python -m install.crash`.

It prints how many there were and what became of the slot, and exits with 1 if anything was not as it has to be.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from install.cases import count_events, run_case
from install.crashnode import crash_node
from install.kills import kill_many
from support.campaign import run_all
from support.ending import listen
from support.mounts import have_own_mounts

KILLS = 200
SEED = 4


def _faults(directory: Path, *, by_delta: bool) -> bool:
    """Run all cases; return whether all were as they have to be."""
    print("a release by its delta:" if by_delta else "an archive:")
    with crash_node(directory, by_delta=by_delta) as node:
        return run_all(count_events(node), partial(run_case, node), ("void", "complete"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m install.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help="how many installations to kill")
    parser.add_argument("--no-faults", action="store_true", help="only kill")
    options = parser.parse_args()
    listen()
    have_own_mounts()
    with tempfile.TemporaryDirectory() as directory:
        good = True
        for by_delta in () if options.no_faults else (False, True):
            good &= _faults(Path(directory) / ("delta" if by_delta else "archive"), by_delta=by_delta)
        if options.kills:
            counts = kill_many(Path(directory) / "kills", options.kills, seed=SEED)
            print(f"{options.kills} kills: {counts['void']} void, {counts['complete']} complete;", end=" ")
            print(f"the second installation succeeded after all of them, and resumed {counts['resumed']}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
