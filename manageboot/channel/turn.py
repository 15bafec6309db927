"""Whether it is this node's turn to take a release by itself, as the rollout that was signed and its own place say."""

from typing import NamedTuple

from manageboot.release import rollout
from manageboot.release.rollout import WHOLE, Rollout
from manageboot.system import files

_MACHINE_ID = "/etc/machine-id"
"""It never leaves the node. Source: machine-id(5)."""
_LIMIT_BYTES = 200


class Turn(NamedTuple):
    """Where a node stands in a rollout, both in basis points."""

    place: int
    share: int

    @property
    def has_come(self) -> bool:
        """Whether the release is for this node by now."""
        return self.place < self.share


def of(staged: Rollout | None, sha256: str, at: int) -> Turn:
    """Say where this node stands.

    Args:
        staged: the rollout of the release; None: it is for all nodes.
        sha256: that of its release.json, in hexadecimal.
        at: what time it is, in seconds since 1970.
    """
    own = _identity()
    # Without an identity a node comes last: it may be one of many that have none.
    place = WHOLE - 1 if own is None else rollout.place(own, sha256)
    return Turn(place, WHOLE if staged is None else staged.share(at))


def _identity() -> str | None:
    try:
        own = files.read(_MACHINE_ID, _LIMIT_BYTES).decode("ascii").strip()
    except (OSError, ValueError):
        return None
    return own if len(own) == 32 and own.isalnum() else None
