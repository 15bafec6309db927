"""What an update says of how it ended, for a person."""

from manageboot.protocol import Slot
from manageboot.unattended.decision import Result
from manageboot.unattended.memory import Known
from manageboot.unattended.window import Opening, minute

_OF_THE_NODE = {
    Result.PENDING: "slot {passive} is committed and waits for its first boot",
    Result.TRIAL: "slot {booted} is on trial",
    Result.CONFLICT: "the kernel command line and the environment block contradict each other",
    Result.UNREADABLE: "the environment block can't be read",
    Result.BORROWED: "another machine owns the disk that this one runs from",
    Result.HELD: "a person is at work, until `manageboot confirm --release`",
    Result.SHUTDOWN: "a shutdown is scheduled",
}

_OF_A_RELEASE = {
    Result.UNFIT: "release {version} is newer, and not for this node; `manageboot check` says why",
    Result.SET_ASIDE: "release {version} did not stay here, or was taken back; `manageboot update --retry` takes"
    " it again",
    Result.STAGED: "release {version} is rolled out, and the turn of this node has not come",
    Result.AVAILABLE: "release {version} is there; channel.unattended leaves its installation to you",
    Result.BY_HAND: "release {version} is there, and slot {passive} holds what somebody has installed, and not"
    " committed",
    Result.INSTALLED: "slot {passive} holds release {version}; channel.unattended leaves the commit to you",
    Result.NO_WINDOW: "slot {passive} holds release {version}, and waits: channel.window does not say when to reboot",
    Result.CLOCK_BEHIND: "slot {passive} holds release {version}, and waits: the clock is behind, so nobody knows"
    " when its window opens",
    Result.COMMITTED: "slot {passive} with release {version} is committed, the node reboots",
}


def of(result: Result, booted: Slot, release: Known | None, opening: Opening | None, again: int | None) -> str:
    """Say how a run ended.

    Args:
        result: how.
        booted: the slot that runs.
        release: what it is about.
        opening: the maintenance window.
        again: when what could not be installed is tried again.
    """
    names = {"booted": booted, "passive": booted.other, "version": "" if release is None else release.version}
    match result:
        case Result.UP_TO_DATE:
            return "no release is newer than what was confirmed here"
        case Result.LATER:
            return f"release {names['version']} could not be installed; that is tried again at {minute(again or 0)}"
        case Result.WAITING:
            never = opening is None or opening.opens is None
            when = "never opens again" if never or opening is None else f"opens {minute(opening.opens or 0)}"
            return f"slot {booted.other} holds release {names['version']}, and waits for its window, which {when}"
    if result in _OF_THE_NODE:
        return f"nothing is done: {_OF_THE_NODE[result].format(**names)}"
    return _OF_A_RELEASE[result].format(**names)
