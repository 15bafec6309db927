"""The ways by which a release comes, and what each costs: all that is read of the release but its release.json."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from manageboot.release.description import Delta, Release


class Way(NamedTuple):
    """One way."""

    way: str
    """"full", "delta" or "archive"."""
    bytes: int
    version: str | None = None
    """The old release, of a delta."""

    def __str__(self) -> str:
        """Say it in words."""
        return f"{self.bytes} bytes as {self.way}{f' from {self.version}' if self.version else ''}"

    def to_json(self) -> dict[str, Any]:
        """Turn it into what `check --json` has."""
        return {"way": self.way, "bytes": self.bytes, **({"from": self.version} if self.version else {})}


def full(release: Release, pack_bytes: int) -> Way:
    """Return what it costs to take so many bytes of the full pack."""
    return Way("full", release.idx.size + pack_bytes)


def by_delta(release: Release, delta: Delta, pack_bytes: int) -> Way:
    """Return what it costs to take so many bytes of the pack of a delta."""
    return Way("delta", release.idx.size + delta.idx.size + pack_bytes, delta.version)


def all_of(release: Release, deltas: Sequence[Delta]) -> list[Way]:
    """Return all ways of a release, where some deltas are of use and the passive slot has nothing yet."""
    return [
        *(by_delta(release, delta, delta.pack.size) for delta in deltas),
        full(release, release.pack.size),
        Way("archive", release.archive.size),
    ]
