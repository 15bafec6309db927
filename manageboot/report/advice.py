"""What the state of a node means for the person who looks at it: what each slot is now, what boots next and why, and
what to do. Pure.
"""

from enum import StrEnum
from typing import Any

from manageboot.boot.node import Node
from manageboot.protocol import BlockState, BootState, Content, Phase, Slot
from manageboot.system import lock


class Now(StrEnum):
    """What a slot is at this moment, all that is known taken together."""

    TRUSTED = "trusted"
    """Booted, or offline the one that counts as booted, and confirmed or never in question."""
    BOOTED = "booted"
    """Booted, and the block does not say what that means."""
    TRIAL = "trial"
    WAY_BACK = "way-back"
    COMMITTED = "committed"
    INSTALLED = "installed"
    INSTALLING = "installing"
    UNFINISHED = "unfinished"
    """Its installation was killed, or the power was cut."""
    FELL_BACK = "fell-back"
    VOID = "void"
    UNKNOWN = "unknown"
    """Not booted, and there is no record of it."""


_BY_CONTENT = {
    Content.VOID: Now.VOID,
    Content.INSTALLING: Now.UNFINISHED,
    Content.INSTALLED: Now.INSTALLED,
    Content.COMMITTED: Now.FELL_BACK,
    Content.CONFIRMED: Now.WAY_BACK,
}

_OF_BOOTED = {
    Phase.IDLE: Now.TRUSTED,
    Phase.PENDING: Now.TRUSTED,
    Phase.TRIAL: Now.TRIAL,
    Phase.CONFLICT: Now.BOOTED,
}


def now(slot: Slot, node: Node, state: BootState | None, *, installs: bool) -> Now:
    """Say what a slot is now.

    Args:
        slot: which one.
        node: what was seen.
        state: None: the block can't be read.
        installs: whether an installation runs.
    """
    booted = node.booted if state is None else state.booted
    phase = None if state is None else state.phase
    if slot is booted:
        return Now.BOOTED if phase is None else _OF_BOOTED[phase]
    if installs:
        return Now.INSTALLING
    if phase is Phase.TRIAL:
        return Now.WAY_BACK
    if phase is Phase.PENDING:
        return Now.COMMITTED
    entry = node.records.get(slot)
    return Now.UNKNOWN if entry is None else _BY_CONTENT[entry.content]


def why_next(node: Node, state: BootState | None) -> str | None:
    """Say why that slot boots next which the block names; None: the block can't be read."""
    if state is None or node.environment.state is None:
        return None
    block, booted = node.environment.state, state.booted
    if node.overwrites_trusted:
        return f"the block says so, until slot {booted} is committed"
    match state.phase:
        case Phase.IDLE if node.offline and block.next is not block.alternative:
            return f"the trial of slot {block.alternative} has no try left"
        case Phase.IDLE:
            return "it is the trusted one"
        case Phase.PENDING:
            return "it is committed, and boots on trial"
        case Phase.CONFLICT:
            return "the block says so, and the kernel command line contradicts it"
        case Phase.TRIAL:
            return _why_in_trial(node, state, block)


def _why_in_trial(node: Node, state: BootState, block: BlockState) -> str:
    booted = state.booted
    if state.grub_wrote_nothing:
        return "its try was not recorded, so GRUB would start it again"
    if block.next is booted:
        return f"its trial has {block.left} more {'try' if block.left == 1 else 'tries'}"
    if is_aborted(node, state):
        return f"the trial of slot {booted} was aborted"
    return f"GRUB goes back to it, unless slot {booted} is confirmed before"


def is_aborted(node: Node, state: BootState) -> bool:
    """Say whether the trial that goes on was aborted, as far as the block tells."""
    return state.phase is Phase.TRIAL and node.environment.markers.aborted and not node.may_be_stale


def what_to_do(status: dict[str, Any]) -> str:
    """Say in a line what to do now.

    Args:
        status: as `status.collect` gathers it.
    """
    codes = [problem["code"] for problem in status["problems"]]
    passive = status["passive"]
    disk = f" --disk {status['disk']}" if status["disk"] else ""
    if status["ownership"] == "borrowed":
        return "nothing here; look at the system that owns the disk"
    if status["running"]:
        verb = lock.verb_of(status["running"]) or "another run"
        return f"wait until {verb} has ended; `manageboot status --watch` shows how far it is"
    if status["state"] == "trial":
        return _in_trial(status, codes)
    if status["state"] == "pending" and "FELL_BACK" not in codes:
        way = "start the system" if disk else "reboot"
        return f"{way} to try slot {passive}, or take the commit back with `manageboot{disk} upgrade-cancel`"
    if codes == ["FELL_BACK"] and status["state"] == "idle":
        return f"see the cause above; then install a better update image into slot {passive}"
    if codes or status["state"] in {"conflict", "unreadable"}:
        return f"run `manageboot{disk} doctor`: it says what is wrong, and what to do"
    if status["block"]["condition"] == "absent":
        return "mount GRUB's partition where the block should be; if it is mounted, `manageboot doctor` says what to do"
    last = status["update"]["last"]
    if last is not None and last["result"] == "waiting" and status["slots"][passive]["now"] == Now.INSTALLED:
        return f"wait: slot {passive} is committed in its window; `manageboot upgrade-commit` commits it now"
    return _between_upgrades(status["slots"][passive]["now"], passive, disk)


def _in_trial(status: dict[str, Any], codes: list[str]) -> str:
    booted, daemon = status["booted"], status["daemon"]
    if status["disk"]:
        return f"let the system in it run: it confirms slot {booted}, or GRUB goes back to slot {status['passive']}"
    if status["aborted"]:
        return f"reboot: GRUB goes back to slot {status['passive']}"
    if daemon["held"]:
        return "when you are done, `manageboot confirm --release` lets the daemon go on"
    if status["confirms_itself"] and daemon["running"] and not codes:
        return "wait: the daemon confirms the trial when its checks have passed, and otherwise goes back"
    return "`manageboot confirm` if this system works, `manageboot rollback` if it does not"


def _between_upgrades(now: str, passive: str, disk: str) -> str:
    match now:
        case Now.INSTALLED:
            run = f"`manageboot{disk} upgrade-commit`"
            return f"{run} to try slot {passive}, or `manageboot{disk} upgrade-cancel` to drop the installation"
        case Now.UNFINISHED | Now.VOID:
            return f"nothing has to be done; `manageboot{disk} upgrade-install` writes slot {passive} anew"
    return f"nothing; the next upgrade goes into slot {passive}"
