"""How a node is made to go down when the command for it fails, or is obeyed by nobody.

A program that holds a block inhibitor keeps the node up: since version 257 systemd-logind refuses a reboot for it even
to root. A commit that waits for its reboot respects that, since somebody may have a reason. A trial that was aborted
does not: the system in which the inhibitor was taken is the one that has to end, and nobody may ever get there to
release it.

Source: systemctl(1), org.freedesktop.login1(5).
"""

import logging
from collections.abc import Sequence

from manageboot import errors
from manageboot.config import Config
from manageboot.system import process

logger = logging.getLogger(__name__)

FORCE_S = 600.0
"""How long it is tried in good order before it is forced. An orderly reboot stops the daemon as one of the first."""

_PLAIN = ("systemctl", "reboot")
_IGNORING = ("systemctl", "reboot", "-i")
"""logind is told to skip inhibitors. Some of its versions ask polkit then, which need not be there."""
_PAST_LOGIND = ("systemctl", "--no-block", "--job-mode=replace-irreversibly", "start", "reboot.target")
"""The same in good order, by systemd itself, which knows of no inhibitor."""
_FORCED = ("systemctl", "reboot", "--force")
"""systemd kills what runs, unmounts or makes read-only what it can, and reboots."""
_TIMEOUT_S = 30


def ways(command: Sequence[str], *, ends_trial: bool, insisted_s: float) -> list[Sequence[str]]:
    """Say what to run to make the node go down, until one of them succeeds. Pure.

    Args:
        command: what the configuration has for it.
        ends_trial: whether a trial has to end, whoever wants the node to stay.
        insisted_s: how long that has been asked for; 0: this is the first time. A command may succeed and do nothing,
            as one that leaves it to a timer whose reboot is refused then.
    """
    if not ends_trial:
        return [command, _PLAIN]
    if insisted_s >= FORCE_S:
        return [_FORCED, _PAST_LOGIND, command]
    return [_IGNORING, _PAST_LOGIND, command] if insisted_s > 0 else [command, _IGNORING, _PAST_LOGIND]


def go_down(config: Config, *, ends_trial: bool, insisted_s: float) -> None:
    """Ask for a reboot, in one way after the other until one succeeds. The arguments are those of `ways`.

    Raises:
        RebootError: none did; the cause is that of the last.
    """
    *others, last = ways(config.boot.reboot_command, ends_trial=ends_trial, insisted_s=insisted_s)
    for way, following in zip(others, [*others[1:], last], strict=True):
        try:
            _run(way, config)
        except errors.RebootError as error:
            # A node that nobody reaches must not stay in a bad trial because of a command that some boots can't run.
            logger.error("%s; `%s` is tried", error, " ".join(following))
        else:
            return
    _run(last, config)


def _run(way: Sequence[str], config: Config) -> None:
    own = way is config.boot.reboot_command
    process.run(way, failure=errors.RebootError, doing="reboot", timeout_s=None if own else _TIMEOUT_S)
