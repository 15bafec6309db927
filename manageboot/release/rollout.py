"""How many of the nodes a release is for yet, as whoever signs it says, and which of them. Pure.

It holds back only what a node does by itself. Nobody has to know the nodes: each finds its own place, in which a larger
share never leaves out who was in a smaller one.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

WHOLE = 10_000
"""All nodes, in basis points."""
KEY = "rollout"
"""Where it stands in what is signed of a release."""

_KEYS = ("basis_points", "from", "until")


class Rollout(NamedTuple):
    """Whom a release is for, and when; times are in seconds since 1970."""

    basis_points: int
    """How many of 10,000 nodes; 0: nobody."""
    begins: int | None = None
    """Nobody before that; None: at once."""
    ends: int | None = None
    """From `begins` on the share grows evenly until then; None: it is whole at once."""

    def share(self, at: int) -> int:
        """Return how many of 10,000 nodes it is for at a time; it never falls as time goes on."""
        if self.begins is None or (self.ends is not None and at >= self.ends):
            return self.basis_points
        if at < self.begins:
            return 0
        if self.ends is None:
            return self.basis_points
        return self.basis_points * (at - self.begins) // (self.ends - self.begins)

    def to_json(self) -> dict[str, Any]:
        """Turn it into what is signed."""
        values = {"basis_points": self.basis_points, "from": _iso(self.begins), "until": _iso(self.ends)}
        return {key: value for key, value in values.items() if value is not None}

    def __str__(self) -> str:
        """Say it in words."""
        grows = "" if self.ends is None else f", growing until {_iso(self.ends)}"
        begins = "" if self.begins is None else f" from {_iso(self.begins)} on"
        return f"{self.basis_points / 100:g} % of the nodes{begins}{grows}"


NOBODY = Rollout(0)
"""What counts where a rollout makes no sense, or says more than this version knows."""


def parse(custom: object) -> Rollout | None:
    """Read what is signed of a release beside its digest; None: it is for all nodes.

    Raises:
        ValueError: what it says of the rollout is nothing that this version knows.
    """
    if not isinstance(custom, Mapping) or KEY not in custom:
        return None
    values = custom[KEY]
    if not isinstance(values, Mapping) or not set(values) <= set(_KEYS):
        raise ValueError(f"a rollout has {', '.join(_KEYS)}")
    points = values.get("basis_points")
    if type(points) is not int or not 0 <= points <= WHOLE:
        raise ValueError(f"basis_points is not a number from 0 to {WHOLE}")
    return checked(Rollout(points, _time(values, "from"), _time(values, "until")))


def checked(rollout: Rollout) -> Rollout:
    """Return a rollout whose times can be meant.

    Raises:
        ValueError: it ends before it begins, or has an end alone.
    """
    if rollout.ends is not None and (rollout.begins is None or rollout.ends <= rollout.begins):
        raise ValueError("it has to begin before it ends")
    return rollout


def seconds(text: str) -> int:
    """Return a time of ISO 8601 with a zone in seconds since 1970.

    Raises:
        ValueError: it is none, or one that can't be written in UTC.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} names no zone; Z is UTC")
    try:
        return int(moment.astimezone(UTC).timestamp())
    except OverflowError as error:
        raise ValueError(f"{text} is in no year from 1 to 9999") from error


def place(identity: str, sha256: str) -> int:
    """Return the place of a node among 10,000, from 0 on: who has a lower one than the share is in.

    It is another one for each release, so that not always the same nodes come first, and tells nobody the identity.

    Args:
        identity: what only this node has.
        sha256: that of the release.json, in hexadecimal.
    """
    import hmac

    digest = hmac.digest(identity.encode(), sha256.encode(), "sha256")
    return int.from_bytes(digest[:8], "big") % WHOLE


def _time(values: Mapping[str, Any], key: str) -> int | None:
    value = values.get(key)
    return None if value is None else seconds(str(value))


def _iso(at: int | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
