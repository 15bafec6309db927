"""What systemd is told of the daemon: that it is ready, what it does, that it lives."""

import os
from contextlib import suppress


def ready() -> None:
    """Say that the daemon is ready; where systemd did not start it, nobody is told."""
    _send("READY=1")


def status(text: str) -> None:
    """Say what the daemon does; `systemctl status` shows it."""
    _send(f"STATUS={text}")


def alive() -> None:
    """Say that the daemon lives; without that, systemd restarts it after WatchdogSec."""
    _send("WATCHDOG=1")


def stopping() -> None:
    """Say that the daemon ends."""
    _send("STOPPING=1")


def watchdog_s() -> float | None:
    """Return how often systemd wants to hear of the daemon, in seconds; None: it does not."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None


def _send(state: str) -> None:
    if "NOTIFY_SOCKET" not in os.environ:
        return
    try:
        from systemd import daemon
    except ImportError:
        return
    # A socket that is not there, or a systemd that starts anew, does not hear it; the daemon goes on.
    with suppress(OSError):
        daemon.notify(state)
