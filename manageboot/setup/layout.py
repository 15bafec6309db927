"""What a machine has of an A/B layout, what is missing, and what to do about it. Pure."""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from manageboot.protocol import Slot
from manageboot.setup import pairs
from manageboot.setup.machine import Machine, Part, Script, Unit, Unknown
from manageboot.setup.pairs import Pairs

ESP_TYPE = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
"""Source: UEFI Specification, version 2.10, table 5-7."""
_ESP_LABELS = frozenset({"esp", "efi", "efi system partition", "efi-system"})

_KEY = re.compile(r"[\w.-]+", re.ASCII)
"""What a key may be; it becomes a word of grub.cfg."""

PAGE = "docs/other-distributions.md"
"""Where a whole layout is shown."""


class State(StrEnum):
    """Whether a thing is there."""

    FOUND = "found"
    MISSING = "missing"
    UNKNOWN = "unknown"


class Thing(NamedTuple):
    """One thing that an A/B layout needs."""

    name: str
    state: State
    text: str
    """What was found, or what is missing."""
    remedy: str = ""
    """What to do about it."""


def slots_of(machine: Machine) -> Pairs | None:
    """Choose the slots by their names, of several disks those of the booted one; None: none, or too many."""
    if isinstance(machine.parts, Unknown):
        return None
    found = pairs.find(machine.parts)
    booted = frozenset() if machine.running is None else machine.running.root
    own = {part.place for part in machine.parts if part.device in booted}
    candidates = [one for one in found if one.place in own] or found
    return candidates[0] if len(candidates) == 1 else None


def booted(machine: Machine, slots: Pairs | None) -> Slot | None:
    """Tell by the mounted root which slot runs; None: neither."""
    if slots is None or machine.running is None:
        return None
    roots = slots.by_role["root"].parts
    return next((slot for slot in Slot if roots[slot].device in machine.running.root), None)


def things(machine: Machine) -> list[Thing]:
    """Judge what was seen."""
    slots = slots_of(machine)
    found = [_firmware_partition(machine), _grub(machine, slots), _slots(machine, slots)]
    if machine.running is not None:
        found += _running(machine, slots)
        found.append(_daemon(machine.running.unit))
    return found


def _running(machine: Machine, slots: Pairs | None) -> Iterator[Thing]:
    yield _booted(machine, slots)
    yield _script(machine)
    yield _configuration(machine)


def _firmware_partition(machine: Machine) -> Thing:
    name = "EFI system partition"
    if isinstance(machine.parts, Unknown):
        return Thing(name, State.UNKNOWN, machine.parts.why)
    found = [part for part in machine.parts if part.kind == ESP_TYPE]
    found = found or [part for part in machine.parts if not part.kind and part.label.lower() in _ESP_LABELS]
    if found:
        return Thing(name, State.FOUND, " and ".join(part.path for part in found))
    if machine.running is not None and not machine.running.uefi:
        return Thing(name, State.FOUND, "not needed, since this machine was not started by UEFI firmware")
    return Thing(
        name,
        State.MISSING,
        "no partition has its type",
        f"make one of type {ESP_TYPE} (sgdisk calls it ef00), with a vfat file system and GRUB in it",
    )


def _grub(machine: Machine, slots: Pairs | None) -> Thing:
    name, grub = "GRUB's directory", machine.grub
    if grub is None:
        if machine.running is None:
            remedy = "make a vfat partition that is called grub, with grub.cfg, grubenv and GRUB's modules"
            return Thing(name, State.MISSING, "no vfat partition has an environment block", remedy)
        remedy = "install GRUB, and mount its partition at /boot/grub; without GRUB, manageboot has no work here"
        return Thing(name, State.MISSING, "there is no /boot/grub and no /boot/grub2", remedy)
    # An upgrade writes over the slot, and what decides the boot has to stay.
    if machine.running is not None and grub.device in machine.running.root:
        return Thing(
            name,
            State.MISSING,
            f"{grub.path} is on the root file system, which an upgrade replaces",
            "give GRUB's directory a partition of its own, which both slots mount there",
        )
    inside = [part.path for part in _parts(slots) if part.device and part.device == grub.device]
    if inside:
        return Thing(
            name,
            State.MISSING,
            f"{grub.path} is on {inside[0]}, which an upgrade replaces",
            "give GRUB's directory a partition of its own, which both slots mount there",
        )
    if isinstance(grub.block, Unknown):
        return Thing(name, State.UNKNOWN, f"{grub.path}: {grub.block.why}")
    if not grub.block:
        return Thing(
            name, State.MISSING, f"{grub.path} has no environment block", f"run `grubenv {grub.path}/grubenv create`"
        )
    return Thing(name, State.FOUND, f"{grub.path}, whose environment block says {grub.block}")


def _slots(machine: Machine, slots: Pairs | None) -> Thing:
    name = "slots A and B"
    if machine.configured is not None and not isinstance(machine.configured, Unknown):
        lost = {role: found for role, found in machine.configured.devices.items() if isinstance(found, Unknown)}
        if lost:
            text = "; ".join(f"{role}: {unknown.why}" for role, unknown in lost.items())
            remedy = f"make them, or name the devices in {machine.configured.source} as this machine has them"
            return Thing(name, State.MISSING, text, remedy)
        text = ", ".join(f"{role} {path}" for role, path in machine.configured.devices.items())
        return Thing(name, State.FOUND, f"{text} (from {machine.configured.source})")
    if isinstance(machine.parts, Unknown):
        return Thing(name, State.UNKNOWN, machine.parts.why)
    if slots is None and len(pairs.find(machine.parts)) > 1:
        places = ", ".join(one.place for one in pairs.find(machine.parts))
        return Thing(
            name, State.UNKNOWN, f"several disks have both: {places}", "detach the others, or write a configuration"
        )
    if slots is None:
        return Thing(
            name,
            State.MISSING,
            "no two partitions, and no two logical volumes of a group, are named as roots of A and B",
            f"name two partitions root-a and root-b, or two logical volumes; {PAGE} shows a whole disk",
        )
    text = ", ".join(f"{slot}_{role} {slots.by_role[role].parts[slot].path}" for role in _known(slots) for slot in Slot)
    remedies = []
    if slots.by_role["root"].by_file_system:
        remedies.append("name the partitions themselves: an installation replaces the names of file systems")
    if slots.others:
        remedies.append(f"say in slots.written or slots.wiped what these are for: {', '.join(slots.others)}")
    return Thing(name, State.FOUND, text, "; ".join(remedies))


def _known(slots: Pairs) -> tuple[str, ...]:
    return slots.written + slots.wiped


def _parts(slots: Pairs | None) -> list[Part]:
    return [] if slots is None else [part for pair in slots.by_role.values() for part in pair.parts.values()]


def cmdline_key(machine: Machine) -> str:
    """Name the key by which the kernel command line tells the booted slot; empty: none does."""
    if machine.running is None:
        return ""
    keys = [key for key, value in machine.running.arguments if value in tuple(Slot) and _KEY.fullmatch(key)]
    if machine.configured is not None and not isinstance(machine.configured, Unknown):
        keys = [key for key in keys if key == machine.configured.cmdline_key]
    # The shipped grub.cfg passes its own word beside the slot's.
    keys = [key for key in keys if key != "manageboot.slot"]
    return next((key for key in keys if key.endswith(("slot", "system"))), keys[0] if keys else "")


def _booted(machine: Machine, slots: Pairs | None) -> Thing:
    name, key, mounted = "booted slot", cmdline_key(machine), booted(machine, slots)
    assert machine.running is not None, "it is asked of the running system alone"
    if key:
        said = dict(machine.running.arguments)[key]
        if mounted is not None and said != mounted:
            return Thing(
                name,
                State.MISSING,
                f"the kernel command line says {key}={said}, and the mounted root is that of slot {mounted}",
                "reboot, and see which root grub.cfg passes to which slot",
            )
        return Thing(name, State.FOUND, f"{said}, as {key} on the kernel command line says")
    wanted = "a word such as ab.slot=A"
    if machine.configured is not None and not isinstance(machine.configured, Unknown):
        wanted = f"{machine.configured.cmdline_key}=A or {machine.configured.cmdline_key}=B"
    text = "the kernel command line does not name it"
    if mounted is not None:
        text += f", and the mounted root is that of slot {mounted}"
    return Thing(name, State.MISSING, text, f"let grub.cfg pass {wanted}; `manageboot init --write-grub-cfg` makes one")


def _script(machine: Machine) -> Thing:
    name, grub = "grub.cfg", machine.grub
    if grub is None:
        return Thing(name, State.MISSING, "GRUB has no directory")
    if isinstance(grub.script, Unknown):
        return Thing(name, State.UNKNOWN, grub.script.why, "run it as root")
    if grub.script in {Script.SHIPPED, Script.PROTOCOL}:
        return Thing(name, State.FOUND, f"{grub.path}/grub.cfg is {grub.script.value}")
    return Thing(
        name,
        State.MISSING,
        f"{grub.path}/grub.cfg is {grub.script.value}",
        "`manageboot init --write-grub-cfg FILE` writes one for these slots; read it, and try it before it counts",
    )


def _configuration(machine: Machine) -> Thing:
    name = "configuration"
    if machine.configured is None:
        return Thing(
            name, State.MISSING, "there is no file, and no profile fits", "run `manageboot init --write-config`"
        )
    if isinstance(machine.configured, Unknown):
        return Thing(name, State.MISSING, machine.configured.why, "mend it; docs/configuration.md has every setting")
    return Thing(name, State.FOUND, machine.configured.source)


def _daemon(unit: Unit) -> Thing:
    remedies = {
        Unit.ENABLED: "",
        Unit.DISABLED: "run `systemctl enable --now manageboot.service`",
        Unit.ABSENT: "install the unit: systemd-units/README.md says where it goes",
    }
    state = State.FOUND if unit is Unit.ENABLED else State.MISSING
    return Thing("daemon", state, f"manageboot.service is {unit.value}", remedies[unit])
