"""What systemd is told of the daemon: that it is ready, what it does, that it lives."""

import os
import re
from contextlib import suppress
from functools import cache

from manageboot.system.beside import beside
from manageboot.system.datagram import DatagramSocket
from manageboot.system.text import one_line

_STATUS_CHARACTERS = 900
"""systemd takes nothing of a notice of more than 4096 bytes, and a character has up to four.

Source: NOTIFY_BUFFER_MAX in systemd's manager.
"""

_MICROSECONDS = re.compile("0*[1-9][0-9]{0,18}", re.ASCII)
_SHORTEST_WATCHDOG_S = 0.1
"""Nobody can be told more often without doing nothing else."""


def ready() -> None:
    """Say that the daemon is ready; where systemd did not start it, nobody is told."""
    _send("READY=1")


def status(text: str) -> None:
    """Say what the daemon does; `systemctl status` shows it, as one line and not to its end where it is long."""
    shown = one_line(text)
    _send(f"STATUS={shown if len(shown) <= _STATUS_CHARACTERS else f'{shown[:_STATUS_CHARACTERS]}...'}")


def alive() -> None:
    """Say that the daemon lives; without that, systemd restarts it after WatchdogSec.

    It says once more that the daemon is ready, since systemd may have been too busy to hear that.
    """
    _send("READY=1\nWATCHDOG=1")


def stopping() -> None:
    """Say that the daemon ends."""
    _send("STOPPING=1")


def watchdog_s() -> float | None:
    """Return how often systemd wants to hear of the daemon, in seconds; None: it does not, or not of this process.

    Source: sd_watchdog_enabled(3).
    """
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    found = _MICROSECONDS.fullmatch(os.environ.get("WATCHDOG_USEC", ""))
    return None if found is None else max(int(found[0]) / 1e6, _SHORTEST_WATCHDOG_S)


def _send(state: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    try:
        from systemd import daemon
    except ImportError:
        return
    # A socket that is not there, or a systemd that hangs or starts anew, does not hear it; the daemon goes on.
    with beside("systemd is not told what the daemon does"), suppress(OSError):
        if _receiver(path).takes_more():
            daemon.notify(state)


_receiver = cache(DatagramSocket)
