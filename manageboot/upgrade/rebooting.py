"""How far the reboot came that a commit of this boot asked for, if it asked for one.

The mark lies in /run, beside the lock, and names the boot. It is made before the slot is armed, so it is there too if
the run is killed before it has asked for the reboot.
"""

import os
from contextlib import suppress
from enum import StrEnum

from manageboot.boot import cmdline
from manageboot.config import Config
from manageboot.system import files

_NAME = "reboot-asked"
_LIMIT_BYTES = 200


class Reboot(StrEnum):
    """How far it came, as the mark says it."""

    NOT_STARTED = "not-started"
    """It could not be started, or the run was killed before."""
    STARTED = "started"


def path(config: Config) -> str:
    """Return where the mark is."""
    return os.path.join(config.state.runtime_directory, _NAME)


def mark(config: Config, how_far: Reboot) -> None:
    """Leave the mark. Raises nothing: where /run is full, a commit is the more important."""
    boot = cmdline.boot_id()
    if boot is None:
        return
    with suppress(OSError):
        files.replace(path(config), f"{boot} {how_far}\n".encode())


def clear(config: Config) -> None:
    """Take the mark away: there is no commit that asked for a reboot any more. Raises nothing."""
    with suppress(OSError):
        os.unlink(path(config))


def how_far(config: Config) -> Reboot | None:
    """Say how far the reboot of this boot's commit came; None: it asked for none, or nothing is known of it."""
    try:
        content = files.read(path(config), _LIMIT_BYTES, ours=True).decode("ascii", "replace")
    except (OSError, ValueError):
        return None
    boot, _, word = content.strip().partition(" ")
    return Reboot(word) if boot == cmdline.boot_id() and word in tuple(Reboot) else None
