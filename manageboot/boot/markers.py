"""What GRUB and the agent leave for each other in the environment block, beside the two variables that decide.

A block without any of them means what it means to IC-OS; so does one whose GRUB or agent does not know them.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from manageboot.protocol import MAX_TRIES

_PREFIX = "mb_"


class TrialMarker(StrEnum):
    """How far a trial came, as the agent in it writes down (`mb_trial`)."""

    USERSPACE = "userspace"
    BY_HAND = "by_hand"
    UNHEALTHY = "unhealthy"
    DEADLINE = "deadline"


class Markers(NamedTuple):
    """The variables `mb_nonce`, `mb_ack` and so on; what is not in the block is empty."""

    nonce: str = ""
    """Agent, at a commit or a rollback: a word that was never used before."""
    ack: str = ""
    """GRUB, with the first try: the nonce that it read. So GRUB reads and writes this block."""
    tries: str = ""
    """Agent, at a commit or a rollback: how many boots the trial has; absent: one."""
    tried: str = ""
    """GRUB: how many it had."""
    fallback: str = ""
    """GRUB: why it went back; unconfirmed or unloadable."""
    trial: str = ""
    """Agent in the trial: one of `TrialMarker`. GRUB clears it when a try begins."""

    @property
    def acknowledged(self) -> bool:
        """Whether GRUB has started the trial of this commit."""
        return self.nonce != "" and self.nonce == self.ack

    @property
    def aborted(self) -> bool:
        """Whether the agent aborted a trial; which one it was, only the nonce tells."""
        return self.trial in {TrialMarker.BY_HAND, TrialMarker.UNHEALTHY, TrialMarker.DEADLINE}

    @property
    def left(self) -> int:
        """How many more boots GRUB gives a trial that it has started; exactly as grub.cfg counts."""
        if (
            not self.acknowledged
            or not _is_number(self.tries, 2, MAX_TRIES)
            or not _is_number(self.tried, 1, MAX_TRIES)
        ):
            return 0
        return max(0, int(self.tries) - int(self.tried))


NAMES = tuple(_PREFIX + field for field in Markers._fields)
"""The names in the block, in the order of the fields."""

BOOT_NAMES = tuple(_PREFIX + field for field in ("nonce", "ack", "tries", "tried"))
"""Those that GRUB decides by."""


def from_variables(variables: Mapping[str, str]) -> Markers:
    """Pick the markers out of a block's variables."""
    return Markers(*(variables.get(name, "") for name in NAMES))


def _is_number(value: str, low: int, high: int) -> bool:
    return value in {str(number) for number in range(low, high + 1)}
