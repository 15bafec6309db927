"""The channel: what the places of releases offer, each release judged, and the one that is taken.

Each step is verified before the next one begins: the metadata, then release.json, then the index. The frames and
windows follow while the release is read.
"""

import hashlib
import logging
import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from manageboot import errors
from manageboot.boot import floor as floors
from manageboot.boot.floor import Floor, Installed
from manageboot.boot.node import Node
from manageboot.channel import clock, fit, kept, libraries, places, refusals
from manageboot.channel.fit import Facts
from manageboot.channel.kept import Kept
from manageboot.channel.place import Place
from manageboot.channel.places import Named
from manageboot.channel.source import ReleaseImage
from manageboot.config import Config
from manageboot.protocol import Phase
from manageboot.release import description, rollout
from manageboot.release.description import DESCRIPTION_BYTES_MAX, NAME, Release
from manageboot.release.rollout import Rollout
from manageboot.system import files

if TYPE_CHECKING:
    from manageboot.channel.trust import Trusted

logger = logging.getLogger(__name__)

_ROOT_BYTES_MAX = 512_000
_PATH = re.compile(rf"({description.VERSION.pattern})/{re.escape(NAME)}")


class Wanted(NamedTuple):
    """What a command line asks for."""

    directory: str | None = None
    """A release, or a directory of releases, by its path or URL; None: what the mirrors have."""
    sha256: str | None = None
    """That of the release.json, in hexadecimal; None: it has to be signed."""
    may_downgrade: bool = False
    only: str | None = None
    """The release.json, by its SHA-256, of the one that is taken, out of all that are signed; None: the newest."""
    over: str | None = None
    """With `only`: the installation, by its transaction, that it may replace though nobody has committed it."""


class Offer(NamedTuple):
    """A release that was signed, or pinned."""

    place: Place
    folder: str
    """Where it is there; empty: the place is the release itself."""
    release: Release
    sha256: str
    """Of its release.json, in hexadecimal."""
    signed_by: tuple[str, ...]
    expires: str | None
    """When its metadata is not to be trusted any more: UTC in ISO 8601; None: it was pinned."""
    refused: errors.ManagebootError | None
    """Why this node can't take it."""
    rollout: Rollout | None = None
    """How many nodes it is for yet, where they take releases by themselves; None: all."""

    @property
    def name(self) -> str:
        """Where it is, in messages and in the record."""
        return os.path.join(self.place.name, self.folder) if self.folder else self.place.name


class Offers(NamedTuple):
    """What there is."""

    offers: list[Offer]
    """The newest first."""
    floor: Floor
    places: tuple[Place, ...] = ()
    """Where they were looked for."""
    left_out: errors.ManagebootError | None = None
    """Why one more was left out, which this version can't read."""

    def close(self, *, but: Place | None = None) -> None:
        """Let go of all places, but for one that is still read from."""
        for place in self.places:
            if place is not but:
                place.close()


def offers(config: Config, node: Node, wanted: Wanted, *, keep: Callable[[Kept], None] | None = None) -> Offers:
    """Find the releases that were signed, or the one that was pinned; the caller closes them.

    Args:
        config: the settings.
        node: the node.
        wanted: what is asked for.
        keep: takes the metadata that was found good, to be kept, also where no release was; None: nobody keeps it.

    Raises:
        NoReleaseError: nobody said where to look, or for which release.
        DataError, InputError, RefusedError, ConfigError: no place has any that can be trusted; why the first one has
            none.
        FetchError, FetcherError, NotPermittedError: a network can't be asked.
    """
    floor = _floor(config, node, may_begin_anew=wanted.may_downgrade)
    facts = fit.facts(config, floor, may_downgrade=wanted.may_downgrade)
    where = _places(config, wanted)
    looked_at = Offers([], floor, tuple(place for place, _ in where))
    try:
        if wanted.sha256 is not None:
            found = _Read([_pinned(where[0].place, wanted.sha256, facts)])
        else:
            found = _signed(config, where, facts, keep)
    except BaseException:
        looked_at.close()
        raise
    newest_first = sorted(found.offers, key=lambda offer: -offer.release.release_index)
    return looked_at._replace(offers=newest_first, left_out=found.left_out)


def choose(node: Node, wanted: Wanted, found: Offers) -> Offer:
    """Return the release that is taken: the newest one that fits.

    Raises:
        RefusedError: none fits; why the newest does not.
        NoReleaseError: there is none, or none that is newer than what is booted.
        ReleaseTooNewError, ReleaseFormatError: nor is there, but for one that this version can't read.
    """
    offers = [offer for offer in found.offers if wanted.only in {None, offer.sha256}]
    if not offers:
        raise refusals.NoReleaseError("cannot install a release: none is published there")
    fitting = [offer for offer in offers if offer.refused is None]
    if not fitting:
        refused = offers[0].refused
        assert refused is not None
        raise refused
    newest = fitting[0]
    booted = found.floor.slots.get(node.booted)
    # Whoever names a release gets it, also once more.
    if wanted.directory is None and booted is not None and newest.release.release_index <= booted.release_index:
        if found.left_out is not None:
            raise found.left_out
        message = f"cannot install a release: {newest.release.version} is the newest, and slot {node.booted} holds it"
        raise refusals.NoReleaseError(
            message if newest.release.version == booted.version else _none_newer(node, booted)
        )
    return newest


def opened(offer: Offer, images: Sequence[str]) -> ReleaseImage:
    """Open a release as an update image; the caller closes it.

    Raises:
        DataError, InputError, NotPermittedError: it can't be read, or is not to be used.
    """
    return ReleaseImage(offer.place, offer.folder, offer.release, offer.sha256, images)


def installed(offer: Offer, transaction: str) -> Installed:
    """Return what is written down of a release that a slot holds."""
    release = offer.release
    return Installed(
        release.version, release.release_index, release.min_index, offer.sha256, offer.signed_by, transaction
    )


def _none_newer(node: Node, booted: Installed) -> str:
    return f"cannot install a release: none is newer than {booted.version}, which slot {node.booted} holds"


def _floor(config: Config, node: Node, *, may_begin_anew: bool) -> Floor:
    """Return the floor as it would be, had the last confirm not been cut short."""
    try:
        known = floors.load(config)
    except errors.FloorDamagedError:
        if may_begin_anew:
            return Floor()
        raise
    block = node.environment.state
    if block is None or node.state.phase is not Phase.IDLE:
        return known
    entry = node.records.get(node.booted)
    return floors.raised_by(known, node.booted, None if entry is None else entry.transaction)


def _places(config: Config, wanted: Wanted) -> list[Named]:
    """Return where to look, and the only release that counts there, if there is one."""
    if wanted.directory is None:
        if wanted.sha256 is not None:
            raise errors.UsageError("cannot run: --release-sha256 needs the directory of the release")
        if config.channel.policy == "named":
            raise refusals.NoReleaseError(
                "cannot install a release: none was named, and channel.policy asks for that",
                hint="name its directory, or an update image",
            )
        if not config.channel.mirrors:
            raise refusals.NoReleaseError(
                "cannot look for releases: channel.mirrors names no place", hint="name a directory, or an update image"
            )
        return [Named(place, None) for place in places.listed(config.channel.mirrors, config.channel.fetch)]
    if wanted.sha256 is not None:
        return [Named(places.of_release(wanted.directory, config.channel.fetch), None)]
    return [places.named(wanted.directory, config.channel.fetch)]


def _pinned(place: Place, sha256: str, facts: Facts) -> Offer:
    content = place.read(NAME, DESCRIPTION_BYTES_MAX)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.lower():
        cause = f"its SHA-256 is {found}, and {sha256.lower()} was asked for"
        raise refusals.PinnedDigestError(f"cannot read {place.name}/{NAME}: {cause}")
    return _offer(place, "", content, Kept(), facts)


class _Read(NamedTuple):
    """The releases of a place, as far as this version can read them."""

    offers: list[Offer]
    left_out: errors.ManagebootError | None = None


def _signed(config: Config, where: Sequence[Named], facts: Facts, keep: Callable[[Kept], None] | None) -> _Read:
    """Return what the first place offers that can be trusted."""
    if config.channel.root is None:
        raise errors.UnsignedError(
            "cannot trust any release: channel.root names no root.json",
            hint="--release-sha256 installs one whose release.json somebody vouches for",
        )
    libraries.reach()
    try:
        from manageboot.channel import trust  # noqa: F401  whether it is there
    # Some versions import requests, which reads the certificates of the system meanwhile.
    except (ImportError, OSError) as error:
        if (system := errors.of_the_system(error)) is not None:
            raise system from error
        raise refusals.TufMissingError(
            f"cannot verify signatures: {error}", hint="install manageboot[channel], or give --release-sha256"
        ) from error
    root, before = _root(config.channel.root), kept.load(config)
    state, found = before, None
    first: errors.ManagebootError | None = None
    for named in where:
        least_time = clock.least(config.channel.root, state)
        asked = _ask(named, root, state, facts, least_time=least_time)
        state = asked.kept
        if asked.cause is None:
            found = asked.found
            break
        if len(where) > 1:
            logger.warning("%s is passed over: %s [%s]", named.place.name, asked.cause, asked.cause.code)
        first = first or asked.cause
    if found is not None:
        state = state.with_built(*(offer.release.built or 0 for offer in found.offers))
    if keep is not None and state != before:
        keep(state)
    if found is None:
        assert first is not None
        raise first
    return found


class _Asked(NamedTuple):
    """What a place has."""

    found: _Read
    kept: Kept
    cause: errors.ManagebootError | None = None
    """Why nothing that it has counts."""


def _ask(named: Named, root: bytes, state: Kept, facts: Facts, *, least_time: int) -> _Asked:
    """Ask a place for its releases; where it has mirrors, until one of them has metadata that can be trusted."""
    from manageboot.channel import trust

    place, only = named
    first: errors.ManagebootError | None = None
    while True:
        try:
            trusted = trust.refresh(place, root, state, least_time=least_time)
            state = trusted.kept
            return _Asked(_read_all(place, _wanted_paths(trusted, place, only), trusted, facts), state)
        except trust.RefusedPlaceError as refused:
            first, state = first or refused.error, refused.kept
            if not isinstance(refused.error, errors.DataError) or not place.go_on(str(refused.error)):
                return _Asked(_Read([]), state, first)
        except errors.ManagebootError as error:
            return _Asked(_Read([]), state, first or error)


def _wanted_paths(trusted: "Trusted", place: Place, only: str | None) -> list[str]:
    if only is None:
        return [path for path in trusted.targets if _PATH.fullmatch(path)]
    if f"{only}/{NAME}" not in trusted.targets:
        raise errors.UnsignedError(
            f"cannot trust {place.name}/{only}: the metadata of {place.name} does not name it",
            hint="it was not signed, or was withdrawn",
        )
    return [f"{only}/{NAME}"]


def _read_all(place: Place, paths: Sequence[str], trusted: "Trusted", facts: Facts) -> _Read:
    """Read releases; one that this version can't read stands in the way of no other, which may have a later version.

    Raises:
        ReleaseTooNewError, ReleaseFormatError: none can be read.
        ManagebootError: a file is not there, or not the one that was signed.
    """
    found: list[Offer] = []
    wrong: list[errors.ManagebootError] = []
    for path in paths:
        try:
            found.append(_verified(place, path, trusted, facts))
        except (errors.ReleaseTooNewError, errors.ReleaseFormatError) as error:
            wrong.append(error)
    if wrong and not found:
        raise wrong[0]
    for one in wrong:
        logger.warning("a release is left out: %s [%s]", one, one.code)
    return _Read(found, wrong[0] if wrong else None)


def _verified(place: Place, path: str, trusted: "Trusted", facts: Facts) -> Offer:
    content = place.read(
        path, DESCRIPTION_BYTES_MAX, judge=lambda content: trusted.verify(path, content, f"{place.name}/{path}")
    )
    folder = os.path.dirname(path)
    offer = _offer(place, folder, content, trusted.kept, facts)
    offer = offer._replace(rollout=_rollout(trusted.targets[path].custom, offer.name))
    if offer.release.version != folder:
        raise errors.ReleaseFormatError(f"cannot read {place.name}/{path}: it is of release {offer.release.version}")
    return offer


def _offer(place: Place, folder: str, content: bytes, by: Kept, facts: Facts) -> Offer:
    release = description.parse(content, os.path.join(place.name, folder, NAME))
    refused: errors.ManagebootError | None = None
    try:
        fit.require(release, facts)
    except errors.RefusedError as error:
        refused = error
    return Offer(place, folder, release, hashlib.sha256(content).hexdigest(), by.signed_by, by.expires, refused)


def _rollout(custom: Any, name: str) -> Rollout | None:
    """Read how many nodes a release is for; it waits where this version does not know what is meant."""
    try:
        return rollout.parse(custom)
    except ValueError as error:
        logger.warning("release %s is installed by hand only: its rollout can't be read: %s", name, error)
        return rollout.NOBODY


def _root(path: str) -> bytes:
    try:
        return files.read(path, _ROOT_BYTES_MAX)
    except OSError as error:
        raise errors.from_os_error(error, f"read {path}", errors.InputError) from error
    except ValueError as error:
        raise errors.InputError(f"cannot read {path}: {error}") from error
