"""The maintenance window: when a node may reboot by itself, as a calendar expression of systemd and a duration."""

import re
from datetime import UTC, datetime
from typing import NamedTuple

from manageboot import errors
from manageboot.config import Config
from manageboot.system import process

_ELAPSES = re.compile(
    r"^\s*(Next elapse|\(in UTC\)): \S+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)? (\S+)$", re.MULTILINE
)


class Opening(NamedTuple):
    """One time that the window is open; times are in seconds since 1970."""

    opens: int | None
    """When it opened or opens next; None: never again."""
    closes: int | None

    def goes_on(self, now: float) -> bool:
        """Say whether the window is open at a time."""
        return self.opens is not None and self.closes is not None and self.opens <= now < self.closes


def find(config: Config, now: int) -> Opening | None:
    """Return the opening that goes on, or else the next one; None: nobody said when the node may reboot.

    Args:
        config: the settings.
        now: what time it is, in seconds since 1970.

    Raises:
        ConfigError: systemd does not take the expression.

    Source: systemd-analyze(1), calendar; systemd.time(7).
    """
    expression, lasts_s = config.channel.window, config.channel.window_s
    if expression is None:
        return None
    # What elapsed earlier than this is over.
    command = ("systemd-analyze", "calendar", f"--base-time=@{max(now - lasts_s, 0)}", expression)
    told = process.run(command, failure=errors.ConfigError, doing=f"use channel.window {expression!r}")
    times = {name: f"{moment}+00:00" for name, moment, _ in _ELAPSES.findall(told)}
    # The second line is there where the first one is not in UTC.
    elapses = times.get("(in UTC)") or times.get("Next elapse")
    if elapses is None:
        return Opening(None, None)
    opens = int(datetime.fromisoformat(elapses).timestamp())
    return Opening(opens, opens + lasts_s)


def minute(at: int) -> str:
    """Write a time for a person."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
