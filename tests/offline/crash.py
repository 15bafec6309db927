"""The trusted slot of a stopped guest is overwritten, and every write and flush fails: `python -m offline.crash`.

It prints how many there were and what became of the slot, and exits with 1 if anything was not as it has to be.
"""

import sys
import tempfile
from pathlib import Path

from offline.crashguest import OUTCOMES, STARTS, crash_guest, first_of_slot
from support import campaign
from support.ending import listen
from support.mounts import have_own_mounts


def _faults(directory: Path, start: str) -> bool:
    """Run all cases; return whether all were as they have to be."""
    with crash_guest(directory, start) as guest:
        events = guest.count_events()
        if start != "stable":
            # Once the other slot is trusted, it does not matter any more how this one came to be.
            events = events[: first_of_slot(events)]
        print(f"{start}:")
        return campaign.run_all(events, guest.run_case, OUTCOMES)


def main() -> int:
    listen()
    have_own_mounts()
    with tempfile.TemporaryDirectory() as directory:
        good = [_faults(Path(directory, start), start) for start in STARTS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
