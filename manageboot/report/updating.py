"""Unattended updates, as `status` shows them, and what `doctor` misses where their timer is enabled."""

import os
import time
from collections.abc import Iterator
from typing import Any

from manageboot import errors
from manageboot.config import Config
from manageboot.unattended import lastrun, memory

TIMER = "manageboot-update.timer"
UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system")
"""Where units are enabled: by an administrator, or in the image of the system."""
INTERVAL_S = 3600
"""How often the timer elapses."""


def collect(config: Config, *, offline: bool) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Gather what `status --json` has as `update`, and what is wrong with it, as `problems`. Raises nothing.

    Args:
        config: the settings.
        offline: whether the disk of another system is looked at, whose last run nobody knows here.
    """
    problems: list[dict[str, str]] = []
    known = memory.Memory()
    try:
        known = memory.load(config)
    except errors.ManagebootError as error:
        problems.append({"code": error.code, "text": str(error)})
    last = None if offline else lastrun.load(config)
    return {
        "policy": config.channel.unattended,
        "window": config.channel.window,
        "last": None if last is None else lastrun.to_json(last),
        "set_aside": [memory.to_json(one) for one in known.set_aside],
    }, problems


def render(update: dict[str, Any]) -> list[tuple[str, str]]:
    """Give what `collect` gathered as labels and texts for a person; nothing where there was no update."""
    last = update["last"]
    lines = []
    if last is not None:
        from manageboot.unattended.window import minute

        code = "" if last["code"] is None else f" [{last['code']}]"
        lines.append(("update", f"{minute(last['ran'])}: {last['text']}{code}"))
    for one in update["set_aside"]:
        said = "somebody took it back" if one["cause"] == "cancelled" else f"it did not stay here ({one['cause']})"
        lines.append(("aside", f"release {one['version']}, index {one['index']}: {said}"))
    return lines


def missing(config: Config) -> Iterator[str]:
    """Say what keeps updates from happening, where the timer is enabled."""
    from glob import glob
    from importlib.util import find_spec

    from manageboot.channel import libraries
    from manageboot.unattended.decision import Policy

    if not any(glob(os.path.join(units, "*.wants", TIMER)) for units in UNITS):
        return
    channel = config.channel
    if not channel.mirrors:
        yield "channel.mirrors names no place with releases"
    if channel.root is None:
        yield "channel.root names no root.json, so no release can be trusted"
    if channel.policy == "named":
        yield "channel.policy lets nobody take a release that is not named"
    libraries.reach()
    if find_spec("tuf") is None:
        yield "python-tuf, which verifies signatures, is not installed"
    if channel.unattended == Policy.COMMIT:
        yield from _window(config)


def _window(config: Config) -> Iterator[str]:
    if config.channel.window is None:
        yield "channel.unattended is commit, and channel.window does not say when the node may reboot"
        return
    from manageboot.unattended import window

    try:
        found = window.find(config, int(time.time()))
    except errors.ManagebootError as error:
        yield str(error)
        return
    if found is None or found.opens is None:
        yield f"channel.window {config.channel.window!r} never opens"
    if config.channel.window_s < INTERVAL_S:
        yield f"channel.window_duration is less than the {INTERVAL_S} s from one run of the timer to the next"
