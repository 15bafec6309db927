"""Whether a release is for this node, and not too old for it."""

from typing import NamedTuple

from manageboot import __version__, errors
from manageboot.boot.floor import Floor
from manageboot.channel import refusals
from manageboot.config import Config
from manageboot.release.description import Release, agent_version


class Facts(NamedTuple):
    """What this node is."""

    system: str | None
    hardware: str | None
    floor: Floor
    may_downgrade: bool = False


def facts(config: Config, floor: Floor, *, may_downgrade: bool) -> Facts:
    """Return what a node is, as its configuration says."""
    own = None if config.profile == "custom" else config.profile
    return Facts(config.channel.system or own, config.channel.hardware, floor, may_downgrade)


def require(release: Release, node: Facts) -> None:
    """Make sure that a release may be installed here.

    Raises:
        OtherSystemError, OtherHardwareError, AgentTooOldError, BelowFloorError: it may not.
    """
    what = f"cannot install release {release.version}"
    needs = release.requires
    if needs.systems and node.system not in needs.systems:
        raise refusals.OtherSystemError(
            f"{what}: it is for {_listed(needs.systems)}, and this system is {node.system or 'not named'}",
            hint="channel.system names it",
        )
    if needs.hardware and node.hardware not in needs.hardware:
        raise refusals.OtherHardwareError(
            f"{what}: it is for {_listed(needs.hardware)}, and this hardware is {node.hardware or 'not named'}",
            hint="channel.hardware names it",
        )
    if needs.agent and agent_version(needs.agent) > _own_version():
        raise refusals.AgentTooOldError(
            f"{what}: it needs manageboot {needs.agent}, and this is {__version__}",
            hint="install a release first that has a later manageboot",
        )
    _require_floor(release, node, what)


def _require_floor(release: Release, node: Facts, what: str) -> None:
    index, floor = release.release_index, node.floor
    if index < floor.min_index:
        raise errors.BelowFloorError(
            f"{what}: its index is {index}, and a confirmed release lets none below {floor.min_index} follow"
        )
    if index < floor.release_index and not node.may_downgrade:
        raise errors.BelowFloorError(
            f"{what}: its index is {index}, and one of {floor.release_index} was confirmed here",
            hint=f"take a release with an index of {floor.release_index} or more; --allow-downgrade takes this one",
        )


def _own_version() -> tuple[int, ...]:
    # What follows the three numbers, as in 1.2.3.dev4, is of a build.
    return agent_version(".".join(__version__.split("+")[0].split(".")[:3]))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)
