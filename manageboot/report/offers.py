"""Which releases there are for this node, what each would cost, and why one is refused; writes nothing."""

from collections.abc import Sequence
from typing import Any

from manageboot.boot.node import observe
from manageboot.boot.record import SlotRecord
from manageboot.channel import channel, clock, kept, turn, ways
from manageboot.channel.chain import Link, Links
from manageboot.channel.channel import Offer, Wanted
from manageboot.channel.ways import Way
from manageboot.config import Config
from manageboot.system.text import one_line

SCHEMA = 1


def collect(config: Config, directory: str | None) -> dict[str, Any]:
    """Gather what `check --json` prints.

    Args:
        config: the settings.
        directory: a release, or a directory of releases; None: what the mirrors have.

    Raises:
        BootedSlotUnknownError, InputError, DeviceError, NotPermittedError, DataError, RefusedError, ConfigError.
    """
    node = observe(config)
    found = channel.offers(config, node, Wanted(directory))
    booted, passive = found.floor.slots.get(node.booted), node.booted.other
    record = node.records.get(node.booted)

    def links(offer: Offer) -> Sequence[Link]:
        if not config.channel.use_deltas:
            return ()
        return to[offer.place].to(offer.folder, offer.release, booted, record)

    to = {place: Links(place) for place in found.places}
    try:
        of_use = [links(offer) for offer in found.offers]
    finally:
        found.close()
    now = clock.now(config.channel.root, kept.load(config))
    return {
        "schema": SCHEMA,
        "floor": found.floor.release_index,
        "booted": None if booted is None else {"version": booted.version, "index": booted.release_index},
        "releases": [
            {
                **_offer(offer, deltas, now),
                "begun": passive if _is_begun(offer, node.records.get(passive)) else None,
            }
            for offer, deltas in zip(found.offers, of_use, strict=True)
        ],
    }


def render(report: dict[str, Any]) -> str:
    """Write what `collect` gathered for a person."""
    booted = report["booted"]
    lines = [
        f"floor    {report['floor']}",
        f"booted   {'no release' if booted is None else '{version}, index {index}'.format(**booted)}",
    ]
    for release in report["releases"]:
        costs = ", ".join(str(Way.from_json(way)) for way in release["ways"])
        lines.append(f"release  {release['version']}, index {release['index']}: {costs}")
        if release["begun"] is not None:
            lines.append(f"         begun: slot {release['begun']} may hold a part of it, which is not fetched again")
        if (staged := release["rollout"]) is not None:
            come = "its turn has come" if staged["has_come"] else "its turn has not come"
            lines.append(
                f"         rollout: for {staged['words']}, {staged['share']:g} % now; "
                f"this node is at {staged['place']:g} %: {come}"
            )
        if release["refused"] is not None:
            lines.append(f"         refused: {release['refused']['text']} [{release['refused']['code']}]")
    if not report["releases"]:
        lines.append("release  none is published")
    return "\n".join(map(one_line, lines))


def _is_begun(offer: Offer, record: SlotRecord | None) -> bool:
    """Say whether an installation of a release was begun that fetches only what the slot lacks, once it goes on."""
    return offer.place.is_remote and record is not None and record.is_begun and record.source_sha256 == offer.sha256


def _rollout(offer: Offer, now: int) -> dict[str, Any] | None:
    """Tell how many nodes a release is for, and where this one stands; in percent."""
    if offer.rollout is None:
        return None
    stands = turn.of(offer.rollout, offer.sha256, now)
    return {
        "words": str(offer.rollout),
        "share": stands.share / 100,
        "place": stands.place / 100,
        "has_come": stands.has_come,
    }


def _offer(offer: Offer, deltas: Sequence[Link], now: int) -> dict[str, Any]:
    release, refused = offer.release, offer.refused
    return {
        "version": release.version,
        "index": release.release_index,
        "min_index": release.min_index,
        "place": offer.name,
        "sha256": offer.sha256,
        "signed_by": list(offer.signed_by),
        "ways": [way.to_json() for way in ways.all_of(release, deltas)],
        "rollout": _rollout(offer, now),
        "refused": None if refused is None else {"code": refused.code, "text": str(refused)},
    }
