"""Who vouches for what a node holds: the floor, the release in each slot, and the metadata that was trusted last."""

from collections.abc import Callable
from typing import Any, TypeVar

from manageboot import errors
from manageboot.boot import floor
from manageboot.boot.floor import Floor
from manageboot.channel import kept
from manageboot.channel.kept import Kept
from manageboot.config import Config
from manageboot.protocol import Slot

_SHOWN_DIGITS = 12
"""Of the id of a key."""

_T = TypeVar("_T")


def collect(config: Config) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Gather what `status --json` has as `channel`, and what is wrong with it, as `problems`. Raises nothing."""
    problems: list[dict[str, str]] = []

    def read(load: Callable[[Config], _T], otherwise: _T) -> _T:
        try:
            return load(config)
        except errors.ManagebootError as error:
            problems.append({"code": error.code, "text": str(error)})
            return otherwise

    known, state = read(floor.load, Floor()), read(kept.load, Kept())
    return {
        "floor": known.release_index,
        "min_index": known.min_index,
        "expires": state.expires,
        "signed_by": list(state.signed_by),
        "releases": {slot.value: _release(known, slot) for slot in Slot},
    }, problems


def render(channel: dict[str, Any]) -> list[tuple[str, str]]:
    """Give what `collect` gathered as labels and texts for a person; nothing where there was never a release."""
    lines = []
    if channel["floor"] or channel["min_index"]:
        lines.append(("floor", f"{channel['floor']}: no release with a lower index is taken"))
    for slot, release in channel["releases"].items():
        if release is not None:
            lines.append(("release", f"slot {slot}: {release['version']}, index {release['index']}, {_by(release)}"))
    if channel["expires"] is not None:
        lines.append(("channel", f"signed by {_keys(channel)}, until {channel['expires']}"))
    return lines


def _release(known: Floor, slot: Slot) -> dict[str, Any] | None:
    return floor.to_json(known.slots[slot]) if slot in known.slots else None


def _by(release: dict[str, Any]) -> str:
    return f"signed by {_keys(release)}" if release["signed_by"] else "pinned"


def _keys(signed: dict[str, Any]) -> str:
    return ", ".join(key[:_SHOWN_DIGITS] for key in signed["signed_by"])
