"""What `--debug` shows on stderr: each read, write, flush and rename, one line each.

Only imported once somebody asks for it.
"""

from __future__ import annotations

import os
import select
import shlex
import stat
import sys
import time

from grubenv import debug
from grubenv.cli.output import printable

_PATIENCE_S = 0.2
"""How long a line waits for a reader; once one was lost, the next ones do not wait."""


def begin() -> None:
    """Show on stderr from now on what is done."""
    began_s = time.monotonic()
    patience_s = _PATIENCE_S

    def show(text: str, *values: object) -> None:
        nonlocal patience_s
        try:
            seconds = time.monotonic() - began_s
            taken = _write(f"grubenv: debug: {seconds:.6f} {printable(text % values)}\n", patience_s)
            patience_s = _PATIENCE_S if taken else 0
        except Exception:  # noqa: BLE001  a line that is lost must not fail the work
            return

    debug.tell = show
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    show("%s, process %d of user %d: %s", now, os.getpid(), os.geteuid(), shlex.join(sys.orig_argv))


def _write(line: str, patience_s: float) -> bool:
    """Write to stderr, where there is room in time; return whether there was."""
    descriptor = 2
    try:
        if os.isatty(2) or stat.S_ISFIFO(os.fstat(2).st_mode):
            # These can be full. O_NONBLOCK on the descriptor itself would hit its other users.
            descriptor = os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        pass  # there is room for what poll sees room for, or nearly always
    try:
        room = select.poll()
        room.register(descriptor, select.POLLOUT)
        data = line.encode("utf-8", "backslashreplace")
        return bool(room.poll(patience_s * 1000)) and os.write(descriptor, data) == len(data)
    except OSError:
        return False
    finally:
        if descriptor != 2:
            os.close(descriptor)
