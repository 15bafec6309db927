"""What time it is at least, whatever the clock says: a clock that is behind opens nothing that is over."""

import os
import time
from contextlib import suppress

from manageboot.channel.kept import Kept

_CLOCK_EPOCH = "/usr/lib/clock-epoch"
"""Its time of change is when the system was built. Source: systemd-timesyncd.service(8)."""


def least(root: str | None, state: Kept) -> int:
    """Return what time it is at least, in seconds since 1970.

    Args:
        root: the first root.json, which is as old as the system; None: there is none.
        state: what was trusted last.
    """
    built = []
    for path in filter(None, (_CLOCK_EPOCH, root)):
        with suppress(OSError):
            built.append(int(os.stat(path).st_mtime))
    return max(*built, state.built, 0)


def now(root: str | None, state: Kept) -> int:
    """Return what time it is, as far as anybody knows: the clock's, or the least where that is behind."""
    return max(int(time.time()), least(root, state))
