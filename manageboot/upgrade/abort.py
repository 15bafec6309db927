"""Whether the trial that runs was aborted. The block can't tell: a stock script keeps what an earlier trial wrote.

The mark lies in /run, beside the lock, and names the boot. It is made before the block is written, so it is there even
if the run that aborts the trial is killed right after.
"""

import os
from contextlib import suppress

from manageboot.boot import cmdline
from manageboot.boot.markers import TrialMarker
from manageboot.boot.node import Node
from manageboot.config import Config
from manageboot.events import events
from manageboot.events.events import Event
from manageboot.protocol import Phase
from manageboot.system import files

_NAME = "given-up"
_LIMIT_BYTES = 200


def path(config: Config) -> str:
    """Return where the mark is."""
    return os.path.join(config.state.runtime_directory, _NAME)


def mark(config: Config, because: TrialMarker) -> None:
    """Leave the mark. Raises nothing: a full /run is no reason to keep a trial, and the history tells it as well.

    Args:
        config: the settings.
        because: what is about to be written into the block.
    """
    boot = cmdline.boot_id()
    if boot is None:
        return
    # A second run may be killed before it writes the block, which then still has the cause of the first: both count.
    words = [word for word in _words(config, boot) if word != because] + [because.value]
    with suppress(OSError):
        files.replace(path(config), f"{' '.join([boot, *words])}\n".encode())


def of_this_trial(config: Config, node: Node) -> bool:
    """Say whether the trial that runs was aborted.

    A grub.cfg that is not the shipped one never clears what an earlier trial left; there, mark or history have to tell.
    """
    markers = node.environment.markers
    if node.state.phase is not Phase.TRIAL or not markers.aborted:
        return False
    of_this_boot = node.grub is not None and markers.nonce != "" and markers.nonce == node.grub.nonce
    return of_this_boot or in_this_boot(config, markers.trial)


def of_earlier_trial(config: Config, node: Node) -> bool:
    """Say whether the block tells of an earlier trial, which was aborted, as if it were the one that runs."""
    return node.may_be_stale and not in_this_boot(config, node.environment.markers.trial)


def in_this_boot(config: Config, trial: str) -> bool:
    """Say whether what the block tells of a trial that was aborted was written in this boot.

    The mark suffices, and so does the history, which is there even where /run was full.

    Args:
        config: the settings.
        trial: what the block says.
    """
    return marked(config, trial) or events.happened(config, Event.ROLLED_BACK)


def marked(config: Config, trial: str) -> bool:
    """Say the same by the mark alone, which is quick.

    Args:
        config: the settings.
        trial: what the block says.
    """
    boot = cmdline.boot_id()
    return boot is not None and trial in _words(config, boot)


def _words(config: Config, boot: str) -> list[str]:
    """Read the causes for which a trial was aborted in this boot."""
    try:
        content = files.read(path(config), _LIMIT_BYTES, ours=True).decode("ascii", "replace")
    except (OSError, ValueError):
        return []
    of_boot, *words = content.split() or [""]
    return words if of_boot == boot else []
