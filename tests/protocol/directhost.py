"""A host that boots its guests directly, as IC-OS's do: it reads a guest's block, decides, and rewrites it by rename.

A test double, in the place of GRUB. It does to the block what a stock `grub.cfg` does, and knows nothing of what
manageboot's own script adds.
"""

import re
from pathlib import Path
from typing import NamedTuple

from support.grubemu import Answer, Grub, Question

_SIZE = 1024
_ASSIGNMENT = re.compile(r"(?P<name>\w+)\s*=\s*(?P<value>[^\s#]*)")
_ALTERNATIVE, _CYCLE = "boot_alternative", "boot_cycle"
_OTHER = {"A": "B", "B": "A"}


class NotStartedError(Exception):
    """The host does not start the guest; it tries again after a minute."""


class Decision(NamedTuple):
    """What the host is about to do."""

    slot: str
    block: bytes
    """The block as the guest is to find it; the one that was there, if nothing changes."""


def read(block: bytes | None) -> list[tuple[str, str]]:
    """Read names and values, by looking for an assignment in each line: in a comment as well.

    Args:
        block: what is in the file, whether or not it is a block; None: there is no file.
    """
    if block is None:
        raise NotStartedError("there is no grubenv")
    try:
        lines = block.decode().split("\n")
    except UnicodeDecodeError as error:
        raise NotStartedError("grubenv is not text") from error
    return [(found["name"], found["value"]) for line in lines if (found := _ASSIGNMENT.search(line))]


def decide(block: bytes | None) -> Decision:
    """Choose the slot, as `grub.cfg` does; of a name that is there twice, the last one counts."""
    assignments = read(block)
    assert block is not None
    found = dict(assignments)
    slot, cycle = found.get(_ALTERNATIVE, "A"), found.get(_CYCLE, "stable")
    if slot not in _OTHER:
        raise NotStartedError(f"{_ALTERNATIVE} is {slot}")
    match cycle:
        case "install" | "stable":
            cycle = "stable"
        case "first_boot":
            cycle = "failsafe_check"
        case "failsafe_check":
            slot, cycle = _OTHER[slot], "stable"
        case _:
            raise NotStartedError(f"{_CYCLE} is {cycle}")
    if (found.get(_ALTERNATIVE), found.get(_CYCLE)) == (slot, cycle):
        return Decision(slot, block)
    rest = [(name, value) for name, value in assignments if name not in {_ALTERNATIVE, _CYCLE}]
    return Decision(slot, build([(_ALTERNATIVE, slot), (_CYCLE, cycle), *rest]))


def build(assignments: list[tuple[str, str]]) -> bytes:
    """Make a block; what is no assignment is lost."""
    text = b"# GRUB Environment Block\n" + b"".join(f"{name}={value}\n".encode() for name, value in assignments)
    if len(text) > _SIZE:
        raise NotStartedError("grubenv is full")
    return text.ljust(_SIZE, b"#")


def rewrite(path: Path) -> str:
    """Do to a file what the host does to a guest's before it starts it; return the slot that it starts."""
    decision = decide(path.read_bytes() if path.exists() else None)
    if decision.block != path.read_bytes():
        new = path.with_name("grubenv.tmp")
        new.write_bytes(decision.block)
        new.rename(path)
    return decision.slot


class DirectHost:
    """The host, to be asked as GRUB is."""

    def __init__(self, old_way: Grub, *, boot_args: bool = True) -> None:
        """Make a host.

        Args:
            old_way: what the guest's own GRUB does.
            boot_args: whether there is a `boot_args` on the boot partitions; a guest without one boots the old way.
        """
        self._old_way = old_way
        self._boot_args = boot_args

    def ask(self, question: Question) -> Answer:
        """Boot the guest: no slot means that it is not started, however often the host tries."""
        try:
            slot, block = decide(question.block)
            if slot not in question.loadable:
                # Before anything is written: the boot partition can't be mounted, or has no kernel.
                raise NotStartedError(f"the boot partition of slot {slot} can't be used")
            if not self._boot_args:
                return self._old_way.ask(question)
            if block != question.block and not question.writable:
                raise NotStartedError("grubenv can't be written")
        except NotStartedError:
            return Answer(None, "", question.block)
        return Answer(slot, f"console=ttyS0 dfinity.system={slot}", block)
