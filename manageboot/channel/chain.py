"""Chains: a node that is two releases behind gets the new one through the release between, which it never installs.

The new release.json names each old release that it has a delta from by the SHA-256 of its release.json. So whoever
signed the new one vouches for the old one too, and nothing has to be published for a chain.
"""

import hashlib
import logging
import os
from typing import NamedTuple

from manageboot import errors
from manageboot.boot.floor import Installed
from manageboot.boot.record import SlotRecord
from manageboot.channel.lacking import is_lacking
from manageboot.channel.place import Place
from manageboot.channel.seed import deltas_from
from manageboot.release import description
from manageboot.release.description import Delta, Release

logger = logging.getLogger(__name__)

AHEAD_BYTES_MAX = 32 << 20
"""Of the pack of a first delta: it is fetched as a whole, and kept in memory until all is installed."""
LOOKS_MAX = 4
"""So many releases are looked at, to see whether one leads on from what the booted slot holds."""


class First(NamedTuple):
    """By which the release between comes out of what the booted slot holds."""

    folder: str
    """Where the release between is in its place."""
    release: Release
    """The release between."""
    delta: Delta
    """Its delta."""

    @property
    def bytes(self) -> int:
        """What it adds to the cost of the delta that follows."""
        return self.release.idx.size + self.delta.idx.size + self.delta.pack.size


class Link(NamedTuple):
    """A delta that is of use on a node."""

    delta: Delta
    """Of the new release."""
    first: First | None = None
    """How the images come that it is from; None: the booted slot holds them."""

    @property
    def bytes(self) -> int:
        """What it costs, but for the index of the new release."""
        return self.delta.idx.size + self.delta.pack.size + (0 if self.first is None else self.first.bytes)

    @property
    def bytes_least(self) -> int:
        """The same where nothing of its packs is needed."""
        return self.bytes - self.delta.pack.size - (0 if self.first is None else self.first.delta.pack.size)

    @property
    def seed(self) -> Delta:
        """The delta whose images the booted slot holds."""
        return self.delta if self.first is None else self.first.delta


class Links:
    """Finds what leads to the releases of a place. What was looked at once is not asked for again."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._seen: dict[str, Release | None] = {}
        """By the SHA-256 of its release.json, a release between; None: it is not to be had."""
        self._is_cut_off = False

    def to(
        self, folder: str, release: Release, booted: Installed | None, record: SlotRecord | None
    ) -> tuple[Link, ...]:
        """Return what leads from the booted slot to a release, the smallest first; chains only if nothing else does.

        Args:
            folder: its directory; where it is the place itself, nothing is known of other releases.
            release: the new one.
            booted: the release that the booted slot holds; None: nobody knows of any.
            record: what the record says of that slot.
        """
        direct = tuple(Link(delta) for delta in deltas_from(release, booted, record))
        if direct or not folder or (booted is None and record is None):
            return direct
        index = 0 if booted is None else booted.release_index
        later = [delta for delta in release.deltas if delta.sha256 is not None and (delta.release_index or 0) > index]
        found: list[Link] = []
        # The one that came next is the likeliest to have a delta from what is booted.
        for delta in sorted(later, key=lambda delta: delta.release_index or 0)[:LOOKS_MAX]:
            between = os.path.join(os.path.dirname(folder), delta.version)
            if (old := self._between(between, delta)) is not None:
                found += [Link(delta, First(between, old, one)) for one in deltas_from(old, booted, record)]
        usable = [link for link in found if link.seed.pack.size <= AHEAD_BYTES_MAX]
        return tuple(sorted(usable, key=lambda link: link.bytes))

    def _between(self, folder: str, delta: Delta) -> Release | None:
        """Return a release that a delta is from; None: it is not to be had, and nothing depends on it."""
        assert delta.sha256 is not None
        if delta.sha256 not in self._seen:
            self._seen[delta.sha256] = None
            if self._is_cut_off:
                return None
            try:
                self._seen[delta.sha256] = self._read(folder, delta)
            except errors.ManagebootError as error:
                # What the whole network lacks shows with the next file, and is not waited for again and again here.
                self._is_cut_off = not is_lacking(error)
                show = logger.warning if self._is_cut_off else logger.info
                show("no delta through %s is looked for: %s", delta.version, error)
        return self._seen[delta.sha256]

    def _read(self, folder: str, delta: Delta) -> Release:
        path = f"{folder}/{description.NAME}"
        content = self._place.look(path, description.DESCRIPTION_BYTES_MAX)
        name = f"{self._place.name}/{path}"
        if hashlib.sha256(content).hexdigest() != delta.sha256:
            raise errors.ReleaseDigestError(f"cannot read {name}: it is not the one that the delta is from")
        release = description.parse(content, name)
        if release.images != delta.images:
            raise errors.ReleaseFormatError(f"cannot read {name}: the delta is from other images")
        return release
