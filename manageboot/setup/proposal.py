"""The configuration and the grub.cfg that fit what was found on a machine. Pure, and writes nothing."""

import json
import re
from typing import NamedTuple

from manageboot import errors
from manageboot.bootloader.slots import SlotScript
from manageboot.protocol import Slot
from manageboot.setup import layout
from manageboot.setup.machine import Machine, Part, Unknown
from manageboot.setup.pairs import Pairs

DEFAULT_KEY = "ab.slot"
"""What names the slot on the kernel command line, where nothing does yet. With a dot in it, init does not get it."""
_DEFAULT_GRUBENV = "/boot/grub/grubenv"

_SAFE_ARGUMENT = re.compile(r"[\w.,:/@+=-]+", re.ASCII)
_OF_THE_BOOT = frozenset({"root", "BOOT_IMAGE", "initrd", "panic"})
"""What GRUB, or the new grub.cfg, says itself."""


class _Place(NamedTuple):
    """What the proposals go by."""

    slots: Pairs
    key: str


def config(machine: Machine) -> str:
    """Write the configuration for the slots that were found.

    Raises:
        DeviceMissingError: there are none.
    """
    slots, key = _place(machine, "a configuration")
    lines = [
        "# By `manageboot init`, from what it found. docs/configuration.md has every setting.",
        'profile = "custom"',
    ]
    lines += ["", "[boot]"]
    grub = machine.grub
    if grub is not None and machine.running is not None and f"{grub.path}/grubenv" != _DEFAULT_GRUBENV:
        lines.append(f"grubenv = {_quoted(f'{grub.path}/grubenv')}")
    if grub is not None and grub.spec:
        lines.append(f"grub_partition = {_quoted(grub.spec)}")
    lines.append(f"cmdline_key = {_quoted(key)}")
    lines += ["", "[slots]", f"written = {_list(slots.written)}", f"wiped = {_list(slots.wiped)}"]
    for slot in Slot:
        lines += ["", f"[slots.{slot}]"]
        lines += [f"{role} = {_quoted(spec(machine, slots, role, slot))}" for role in slots.written + slots.wiped]
    return "\n".join(lines) + "\n"


def grub_cfg(machine: Machine) -> SlotScript:
    """Write the grub.cfg for the slots that were found.

    Raises:
        DeviceMissingError: there are none, or GRUB can't find them by a number in a GPT.
    """
    slots, key = _place(machine, "a grub.cfg")
    numbers = {}
    for slot in Slot:
        part = slots.header_last.parts[slot]
        if not part.number or part.scheme not in {"gpt", ""}:
            what = "a logical volume" if part.volume else f"not on a GPT but on a table of type {part.scheme}"
            raise errors.DeviceMissingError(
                f"cannot make a grub.cfg: {part.path} is {what}", hint=f"write one after the example in {layout.PAGE}"
            )
        numbers[slot] = part.number
    roots = {slot: _argument(machine, slots, slot) for slot in Slot}
    # On a partition of its own, what is /boot/vmlinuz to the system is /vmlinuz to GRUB.
    directory = "/" if slots.header_last.role == "boot" else kernel_directory(machine, slots) or "/"
    return SlotScript(numbers, roots, key, f"{directory}vmlinuz", f"{directory}initrd.img")


def kernel_directory(machine: Machine, slots: Pairs) -> str | None:
    """Tell where the running system has its kernel on the device that GRUB loads it from; None: nowhere."""
    if machine.running is None:
        return None
    numbers = {part.device for part in slots.header_last.parts.values()}
    wanted = ("/boot/",) if slots.header_last.role == "boot" else ("/", "/boot/")
    found = dict(machine.running.kernels)
    return next((directory for directory in wanted if found.get(directory) in numbers), None)


def spec(machine: Machine, slots: Pairs, role: str, slot: Slot) -> str:
    """Name a part as a configuration does: by its label, if no other one has it, else by its UUID or its path."""
    assert not isinstance(machine.parts, Unknown), "there are slots"
    part = slots.by_role[role].parts[slot]
    return name_of(part, machine.parts)


def name_of(part: Part, among: tuple[Part, ...]) -> str:
    """Name a partition or volume as a configuration does."""
    if part.volume:
        return f"LV={part.volume}"
    if part.label.isprintable() and part.label and [one.label for one in among].count(part.label) == 1:
        return f"PARTLABEL={part.label}"
    return f"PARTUUID={part.uuid}" if part.uuid else part.path


def _place(machine: Machine, what: str) -> _Place:
    slots = layout.slots_of(machine)
    if slots is None:
        raise errors.DeviceMissingError(
            f"cannot make {what}: no two slots were found",
            hint="`manageboot init` says what is missing",
        )
    configured = machine.configured
    key = layout.cmdline_key(machine)
    if not key and configured is not None and not isinstance(configured, Unknown):
        key = configured.cmdline_key
    return _Place(slots, key or DEFAULT_KEY)


def _argument(machine: Machine, slots: Pairs, slot: Slot) -> str:
    """Give what the kernel is told: its root, and all else that the booted one was told."""
    name = spec(machine, slots, "root", slot)
    own = layout.cmdline_key(machine)
    told = () if machine.running is None else machine.running.arguments
    words = [f"{key}={value}" if value else key for key, value in told]
    kept = [
        word
        for word, (key, _) in zip(words, told, strict=True)
        if key not in _OF_THE_BOOT
        and key != own
        and not key.startswith("manageboot.")
        and _SAFE_ARGUMENT.fullmatch(word)
    ]
    uuid = slots.by_role["root"].parts[slot].uuid
    if not _SAFE_ARGUMENT.fullmatch(name):
        if not uuid:
            raise errors.DeviceMissingError(f"cannot make a grub.cfg: {name} can't be a word of a kernel command line")
        name = f"PARTUUID={uuid}"
    return " ".join([f"root={name}", *(kept or ["ro"])])


def _quoted(text: str) -> str:
    # A basic string of TOML is one of JSON, but for the one control character that JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(names: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_quoted, names))}]"
