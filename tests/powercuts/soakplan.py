"""What the dice of a soak decide: when the power goes, what is lost, and what a node does meanwhile."""

import enum
import random
from collections.abc import Sequence
from typing import NamedTuple

from powercuts.cuts import SECTOR, Cut


class Phase(enum.Enum):
    """What a node is about when its power goes."""

    FIRMWARE = "firmware"
    GRUB = "GRUB"
    BOOT = "early boot"
    INSTALL = "install"
    COMMIT = "commit"
    CANCEL = "cancel"
    ROLLBACK = "rollback"
    REBOOT = "going down"
    CONFIRM = "confirm"


HAZARDS = {
    Phase.FIRMWARE: 0.12,
    Phase.GRUB: 0.35,
    Phase.BOOT: 0.35,
    Phase.INSTALL: 0.45,
    Phase.COMMIT: 0.35,
    Phase.CANCEL: 0.40,
    Phase.ROLLBACK: 0.40,
    Phase.REBOOT: 0.30,
    Phase.CONFIRM: 0.40,
}
"""How likely the power goes in a phase that has begun.

Three of five rounds end before the node is up, since a boot is what costs most: more often than that, and hardly an
upgrade would be confirmed.
"""
TYPICAL_S = {
    Phase.FIRMWARE: 3.0,
    Phase.GRUB: 3.0,
    Phase.BOOT: 14.0,
    Phase.INSTALL: 12.0,
    Phase.COMMIT: 2.0,
    Phase.CANCEL: 2.0,
    Phase.ROLLBACK: 2.0,
    Phase.REBOOT: 4.0,
    Phase.CONFIRM: 2.0,
}
"""How long each takes, until a node has shown it."""
WEIGHT = 0.3
"""Of the last duration, in what counts as typical."""
OVERTIME = 1.1
"""An instant may lie so far into a phase, in its typical duration: some fall behind its end."""
AT_WRITE = 0.6
"""How many of the cuts wait for a write, in the phases where those of one instant would mostly miss them."""
GROWTH_MAX = {
    Phase.GRUB: 1,
    Phase.BOOT: 256 << 10,
    Phase.COMMIT: 96 << 10,
    Phase.CANCEL: 48 << 10,
    Phase.ROLLBACK: 96 << 10,
    Phase.CONFIRM: 48 << 10,
}
"""How much is written until then, at most, in bytes of the log. GRUB writes once."""
PHASES_MAX = 10
"""After so many of them the power goes in the next one."""

CANCEL, ROLL_BACK, FALL_BACK, GIVE_UP, IDENTICAL = 0.15, 0.3, 0.15, 0.1, 0.5
"""How often a node does what is not the straight way, where it could."""


class Instant(NamedTuple):
    """When the power goes in the phase that has just begun."""

    share: float
    """Of the phase's typical duration."""
    growth: int
    """But when so many bytes of log were written; 0: the share counts."""


class Node(NamedTuple):
    """What decides what a node does next."""

    state: str
    """idle, pending or trial, as `status` says."""
    passive_record: str
    """What the record of the other slot says; empty: there is none."""


class Plan:
    """The dice of one node, and how long its phases take."""

    def __init__(self, seed: int | str) -> None:
        """Begin.

        Args:
            seed: the same one takes the same decisions in a round, where the same phases follow each other.
        """
        self._seed = seed
        self._dice = random.Random(str(seed))
        self._phases = 0
        self.typical_s = {phase.value: seconds for phase, seconds in TYPICAL_S.items()}
        """What it has learned: how long each phase takes."""

    def begin_round(self, number: int) -> None:
        """The power is on again; what is decided does not depend on the rounds before."""
        self._dice = random.Random(f"{self._seed} {number}")
        self._phases = 0

    def draw(self, phase: Phase) -> Instant | None:
        """Say when the power goes in a phase that begins; None: it does not."""
        self._phases += 1
        is_hit = self._dice.random() < HAZARDS[phase] or self._phases > PHASES_MAX
        share, at_write = self._dice.random() * OVERTIME, self._dice.random() < AT_WRITE
        growth = self._dice.randint(1, GROWTH_MAX.get(phase, 1))
        return Instant(share, growth if at_write and phase in GROWTH_MAX else 0) if is_hit else None

    def seconds(self, phase: Phase, share: float) -> float:
        """Turn a share of a phase into seconds."""
        return self.typical_s[phase.value] * share

    def lasted(self, phase: Phase, seconds: float) -> None:
        """Learn how long a phase took that was not cut."""
        self.typical_s[phase.value] += (seconds - self.typical_s[phase.value]) * WEIGHT

    def next_verb(self, node: Node) -> str:
        """Choose the next right thing.

        Returns:
            install, commit, cancel, rollback, confirm or reboot.
        """
        chance = self._dice.random()
        if node.state == "trial":
            return "reboot" if chance < FALL_BACK else "rollback" if chance < FALL_BACK + GIVE_UP else "confirm"
        if node.state == "pending":
            return "cancel" if chance < CANCEL else "reboot"
        if node.passive_record == "installed":
            return "commit"
        return "rollback" if node.passive_record == "confirmed" and chance < ROLL_BACK else "install"

    def skips_identical(self) -> bool:
        """Say whether an installation leaves alone what is there already."""
        return self._dice.random() < IDENTICAL

    def choose(self, among: Sequence[str]) -> str:
        """Take one of several."""
        return self._dice.choice(among)

    def lose(self, position: int, sizes: Sequence[int], whole: Sequence[int] = ()) -> Cut:
        """Say what is left of what was not flushed.

        Args:
            position: of the last request.
            sizes: of the writes since the last flush, in bytes.
            whole: those of them that are never torn, by their place.
        """
        count = len(sizes)
        kind = self._dice.choice(("reset", "none", "some", "some", "torn"))
        if kind == "reset" or not count:
            return Cut(position, "reset")
        if kind == "none":
            return Cut(position, "lost", ())
        share = self._dice.choice((0.1, 0.5, 0.9))
        kept = tuple(number for number in range(count) if self._dice.random() < share)
        if kind == "some" or not kept or kept[-1] in whole or sizes[kept[-1]] <= SECTOR:
            return Cut(position, "lost", kept)
        place = self._dice.randrange(1, sizes[kept[-1]] // SECTOR)
        piece = self._dice.choice(((0, place), (place, sizes[kept[-1]] // SECTOR)))
        return Cut(position, "torn", kept, piece)
