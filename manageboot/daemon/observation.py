"""What the daemon sees at one moment: of the node, of the local file systems, of its health checks. Pure."""

from enum import StrEnum
from typing import NamedTuple

from manageboot.protocol import BootState, Phase


class Verdict(StrEnum):
    """What the health checks say of a trial."""

    RUNNING = "running"
    GOOD = "good"
    BAD = "bad"


class FileSystems(StrEnum):
    """How far the local file systems are; the records lie on one of them."""

    AWAITED = "awaited"
    ASSUMED = "assumed"
    """Waited for no longer, though systemd still tries."""
    SETTLED = "settled"
    """There, or not awaited by systemd any more."""


class Observation(NamedTuple):
    """The node at one moment. What follows from that over time, `Memory` says."""

    state: BootState | None
    """What both witnesses say; None: the block can't be read, or says nothing."""
    problem: str = ""
    """Why."""
    damaged: bool = False
    """Whether the block can be read, and says nothing."""
    aborted: bool = False
    """Whether the block says that a trial was aborted."""
    may_be_stale: bool = False
    """Whether that may be an earlier trial."""
    grub_starts_trial: bool = False
    """Whether GRUB said at boot that it starts a trial."""
    repeats: bool = False
    """Whether GRUB, as the block last said, could not write, and so would start the same trial again and again."""
    inhibited: bool = False
    """Whether a person is at work."""
    verdict: Verdict | None = None
    """None: the checks were not started."""
    file_systems: FileSystems = FileSystems.AWAITED

    @property
    def phase(self) -> Phase | None:
        """Where the node is between two upgrades; None: the block does not tell."""
        return None if self.state is None else self.state.phase
