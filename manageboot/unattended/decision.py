"""What an unattended update does next: a pure decision, from what is allowed and what is seen."""

from enum import StrEnum
from typing import NamedTuple

from manageboot.protocol import Phase


class Policy(StrEnum):
    """How far an update goes by itself."""

    CHECK = "check"
    INSTALL = "install"
    COMMIT = "commit"


class Hindrance(StrEnum):
    """Why nothing is done, whatever there is."""

    BORROWED = "borrowed"
    """Another machine owns the disk that this one runs from."""
    HELD = "held"
    """A person is at work."""
    SHUTDOWN = "shutdown"
    """A shutdown or a reboot is scheduled."""


class Offered(StrEnum):
    """What the channel has for this node."""

    NOTHING = "nothing"
    """No release is newer than what was confirmed here."""
    UNFIT = "unfit"
    """There are newer ones, and none is for this node."""
    SET_ASIDE = "set-aside"
    """There are some for this node, and each was tried here, or taken back by hand."""
    STAGED = "staged"
    """There is one, and its turn has not come here."""
    RELEASE = "release"
    """There is one to take."""


class Passive(StrEnum):
    """What the passive slot holds."""

    FREE = "free"
    """Nothing that anybody waits for."""
    READY = "ready"
    """The release to take, installed by an earlier update and not committed."""
    BY_HAND = "by-hand"
    """What somebody installed, and has not committed yet."""
    FAILED = "failed"
    """Nothing either, as the release could not be installed, and it is too early to try that again."""


class Window(StrEnum):
    """Whether the node may reboot now."""

    OPEN = "open"
    CLOSED = "closed"
    NONE = "none"
    """Nobody said when it may."""
    CLOCK_BEHIND = "clock-behind"
    """The clock is known to be wrong, so nobody knows."""


class Observation(NamedTuple):
    """All that a decision depends on."""

    phase: Phase | None
    """None: the block does not tell."""
    hindrance: Hindrance | None = None
    offered: Offered | None = None
    """None: nobody has looked yet."""
    passive: Passive = Passive.FREE
    window: Window = Window.NONE


class Step(StrEnum):
    """What is done next."""

    LOOK = "look"
    INSTALL = "install"
    COMMIT = "commit"


class Result(StrEnum):
    """How a run ends: in `status`, JSON and metrics."""

    UP_TO_DATE = "up-to-date"
    UNFIT = "unfit"
    SET_ASIDE = "set-aside"
    STAGED = "staged"
    AVAILABLE = "available"
    """There is a release, and `channel.unattended` leaves the rest to a person."""
    BY_HAND = "by-hand"
    LATER = "later"
    """It could not be installed, and is tried again later."""
    INSTALLED = "installed"
    """It is installed, and `channel.unattended` leaves the rest to a person."""
    WAITING = "waiting"
    """It is installed, and the window is closed."""
    NO_WINDOW = "no-window"
    CLOCK_BEHIND = "clock-behind"
    COMMITTED = "committed"
    PENDING = "pending"
    TRIAL = "trial"
    CONFLICT = "conflict"
    UNREADABLE = "unreadable"
    BORROWED = "borrowed"
    HELD = "held"
    SHUTDOWN = "shutdown"
    BUSY = "busy"
    """Another run is at work."""
    FAILED = "failed"
    """An error ended it."""


_IN_PHASE = {Phase.PENDING: Result.PENDING, Phase.TRIAL: Result.TRIAL, Phase.CONFLICT: Result.CONFLICT}

_WITHOUT_RELEASE = {
    Offered.NOTHING: Result.UP_TO_DATE,
    Offered.UNFIT: Result.UNFIT,
    Offered.SET_ASIDE: Result.SET_ASIDE,
    Offered.STAGED: Result.STAGED,
}

_IN_WINDOW: dict[Window, Step | Result] = {
    Window.OPEN: Step.COMMIT,
    Window.CLOSED: Result.WAITING,
    Window.NONE: Result.NO_WINDOW,
    Window.CLOCK_BEHIND: Result.CLOCK_BEHIND,
}


def decide(policy: Policy, seen: Observation) -> Step | Result:
    """Say what to do, or how the run ends.

    Nothing is committed that the channel does not offer this node at that time: what was paused or withdrawn since it
    was installed waits.
    """
    if seen.hindrance is not None:
        return Result(seen.hindrance.value)
    if seen.phase is not Phase.IDLE:
        return Result.UNREADABLE if seen.phase is None else _IN_PHASE[seen.phase]
    if seen.offered is None:
        return Step.LOOK
    if seen.offered is not Offered.RELEASE:
        return _WITHOUT_RELEASE[seen.offered]
    if seen.passive is Passive.BY_HAND:
        return Result.BY_HAND
    if seen.passive in {Passive.FREE, Passive.FAILED} and policy is Policy.CHECK:
        return Result.AVAILABLE
    if seen.passive is Passive.FAILED:
        return Result.LATER
    if seen.passive is Passive.FREE:
        return Step.INSTALL
    return Result.INSTALLED if policy is not Policy.COMMIT else _IN_WINDOW[seen.window]
