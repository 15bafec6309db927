"""Whether the daemon has to stay out: it may run in a machine that does not own its disk."""

from manageboot.boot import cmdline, ownership
from manageboot.boot.node import observe
from manageboot.boot.ownership import Ownership
from manageboot.config import Config

WAIT_S = 600.0
"""How long after the boot the word of who owns the disk is waited for. Older versions of IC-OS never give it."""


def stays_out(config: Config, now_s: float, *, acted: bool) -> str | None:
    """Say in words why nothing may be done now; None: the disk is this machine's own.

    As long as that is not known, nothing is done only where this may be the other machine. It runs the slot that the
    block does not name, and no GRUB started it. A trial is never such a boot, so none is kept waiting.

    Args:
        config: the settings.
        now_s: seconds since boot.
        acted: whether something was done in this boot, since it was known then that this is not the other machine. A
            look that fails now does not make it one, and a trial has to go on to its end.
    """
    match ownership.of(config.boot):
        case Ownership.BORROWED:
            return "another machine owns the disk, and nothing is done to it"
        case Ownership.UNKNOWN if not acted and now_s < WAIT_S and _may_be_borrowed(config):
            return f"waits for {config.boot.owner_file}: another machine may own the disk"
    return None


def _may_be_borrowed(config: Config) -> bool:
    if cmdline.started_by_grub(config.boot):
        return False
    try:
        state = observe(config, with_records=False).state
    except Exception:  # noqa: BLE001  nothing tells that it is not, whatever is wrong with the look
        return True
    return state.booted is not state.block.alternative
