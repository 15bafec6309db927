"""Who vouches for what is installed: a channel, whoever pinned it, or nobody where that is allowed."""

import os

from grubenv import Inside
from manageboot import errors
from manageboot.boot.node import Node
from manageboot.channel import channel, kept, refusals
from manageboot.channel.channel import Offer, Wanted
from manageboot.config import Config
from manageboot.events import events
from manageboot.events.events import Event
from manageboot.protocol import Content


def choose(config: Config, node: Node, wanted: Wanted) -> Offer:
    """Choose the release that is installed, and keep the metadata that names it; the caller holds the lock.

    The caller closes its place.

    Raises:
        RefusedError: none may be installed here, or it is another system's disk.
        NotPermittedError: only root may go below the floor.
        DataError, InputError, DeviceError, CreateError: as `channel.offers`; or the metadata can't be kept.
        LockedError: somebody has installed something else meanwhile.
    """
    if isinstance(config.boot.grubenv, Inside):
        raise refusals.NoReleaseError(
            "cannot install a release on another system's disk: what that system trusts is not known here",
            hint="give the update image of the release, and its SHA-256",
        )
    if wanted.may_downgrade and os.geteuid():
        raise errors.NotPermittedError("cannot go below the floor: only root may", hint="run it as root")
    if wanted.only is not None:
        _require_nothing_else(node, wanted.over)
    found = channel.offers(config, node, wanted, keep=lambda state: kept.store(config, state))
    try:
        offer = channel.choose(node, wanted, found)
    except BaseException:
        found.close()
        raise
    found.close(but=offer.place)
    index = offer.release.release_index
    if wanted.may_downgrade and index < found.floor.release_index:
        events.announce(
            config,
            Event.DOWNGRADE_ALLOWED,
            f"Release {offer.release.version} is installed by hand, with index {index} below the floor of "
            f"{found.floor.release_index}",
            slot=node.booted.other,
            version=offer.release.version,
        )
    return offer


def _require_nothing_else(node: Node, over: str | None) -> None:
    """Make sure that nothing but that waits in the passive slot: who has chosen may have waited for the lock since."""
    slot = node.booted.other
    entry = node.records.get(slot)
    if entry is not None and entry.content is Content.INSTALLED and entry.transaction != over:
        raise errors.LockedError(
            f"cannot install a release: another run has installed something in slot {slot} meanwhile",
            hint="`manageboot status` says what is there",
        )


def require_pinned(config: Config, sha256: str | None) -> None:
    """Make sure that an update image that nobody signed may be installed.

    Raises:
        UnsignedError: the configuration asks for a signature, or for a pin that it lets count.
    """
    if not config.channel.required or (sha256 is not None and config.channel.sha256_pins):
        return
    pins = "or --release-sha256" if not config.channel.sha256_pins else "or --sha256"
    raise errors.UnsignedError(
        "cannot install an update image that nobody signed: channel.required asks for a signature",
        hint=f"install a release, {pins} with what somebody vouches for",
    )
