"""Which partitions or logical volumes are named like the same part of slot A and slot B. Pure."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from manageboot.protocol import Slot
from manageboot.setup.machine import Part

WRITTEN = ("boot", "root", "usr", "verity")
"""The roles that an update image brings, where a slot has them, in the order of writing."""
WIPED = ("var",)

_SUFFIXED = re.compile(r"(?P<role>.+?)(?:[-_.](?P<slot>[abAB])|(?<=[a-z])(?P<capital>[AB]))")
_PREFIXED = re.compile(r"(?P<slot>[abAB])[-_.](?P<role>.+)")
_SYNONYMS = {"rootfs": "root", "system": "root", "kernel": "boot"}


class Pair(NamedTuple):
    """One role, and its parts by slot."""

    role: str
    parts: dict[Slot, Part]
    by_file_system: bool
    """Whether only the file systems are named so, which an installation may change."""


class Pairs(NamedTuple):
    """What was found on one disk, or in one volume group."""

    place: str
    by_role: dict[str, Pair]

    @property
    def written(self) -> tuple[str, ...]:
        """The roles that an update image brings."""
        return tuple(role for role in WRITTEN if role in self.by_role)

    @property
    def wiped(self) -> tuple[str, ...]:
        """The roles that an installation wipes."""
        return tuple(role for role in WIPED if role in self.by_role)

    @property
    def header_last(self) -> Pair:
        """What GRUB loads the kernel from, as `config.RolesConfig` has it."""
        return self.by_role["boot" if "boot" in self.by_role else "root"]

    @property
    def others(self) -> tuple[str, ...]:
        """Of which only a person can tell what they are for."""
        return tuple(role for role in self.by_role if role not in WRITTEN + WIPED)


def find(parts: Sequence[Part]) -> list[Pairs]:
    """Find the slots; several, if several disks have a root for both."""
    places = dict.fromkeys(part.place for part in parts)
    found = []
    for place in places:
        there = [part for part in parts if part.place == place]
        by_role = _pairs(there, by_file_system=False)
        if "root" not in by_role:
            by_role = _pairs(there, by_file_system=True)
        if "root" in by_role:
            found.append(Pairs(place, by_role))
    return found


def _pairs(parts: Sequence[Part], *, by_file_system: bool) -> dict[str, Pair]:
    named: dict[str, dict[Slot, list[Part]]] = {}
    for part in parts:
        name = part.file_system if by_file_system else part.label or part.volume.partition("/")[2]
        match = _SUFFIXED.fullmatch(name) or _PREFIXED.fullmatch(name)
        if match is not None:
            slot = Slot((match["slot"] or match.groupdict().get("capital") or "").upper())
            named.setdefault(_role(match["role"]), {}).setdefault(slot, []).append(part)
    return {
        role: Pair(role, {slot: both[slot][0] for slot in Slot}, by_file_system)
        for role, both in sorted(named.items())
        if all(len(both.get(slot, ())) == 1 for slot in Slot)
    }


def _role(name: str) -> str:
    role = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    return _SYNONYMS.get(role, role)
