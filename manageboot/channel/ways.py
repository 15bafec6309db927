"""The ways by which a release comes, and what each costs: all that is read of the release but its release.json."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from manageboot.channel.chain import Link
from manageboot.release.description import Release


class Way(NamedTuple):
    """One way."""

    way: str
    """"full", "delta" or "archive"."""
    bytes: int
    version: str | None = None
    """The old release, of a delta."""
    through: str | None = None
    """The release between, of a chain of two deltas."""

    def __str__(self) -> str:
        """Say it in words."""
        origin = f" from {self.version}" if self.version else ""
        return f"{self.bytes} bytes as {self.way}{origin}{f' through {self.through}' if self.through else ''}"

    def to_json(self) -> dict[str, Any]:
        """Turn it into what `check --json` has."""
        origin = {"from": self.version, "through": self.through}
        return {"way": self.way, "bytes": self.bytes, **{key: value for key, value in origin.items() if value}}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Turn it back."""
        return cls(values["way"], values["bytes"], values.get("from"), values.get("through"))


def full(release: Release, pack_bytes: int) -> Way:
    """Return what it costs to take so many bytes of the full pack."""
    return Way("full", release.idx.size + pack_bytes)


def by_delta(release: Release, link: Link, pack_bytes: int) -> Way:
    """Return what it costs to take so many bytes of the packs of a delta, or of a chain."""
    through = None if link.first is None else link.delta.version
    return Way("delta", release.idx.size + link.bytes_least + pack_bytes, link.seed.version, through)


def all_of(release: Release, links: Sequence[Link]) -> list[Way]:
    """Return all ways of a release, where some deltas are of use and the passive slot has nothing yet."""
    return [
        *(by_delta(release, link, link.bytes - link.bytes_least) for link in links),
        full(release, release.pack.size),
        Way("archive", release.archive.size),
    ]
