"""Blocks as bytes, read and written a second time, without the library and the agent that are on trial."""

import re
from collections.abc import Mapping
from functools import lru_cache

PHASES = ("idle", "pending", "trial", "conflict")
"""In the order of the columns of docs/protocol.md."""
GARBAGE = b"x" * 1024


def environment_block(**variables: str) -> bytes:
    lines = b"".join(f"{name}={value}\n".encode() for name, value in variables.items())
    return (b"# GRUB Environment Block\n" + lines).ljust(1024, b"#")


@lru_cache(1 << 16)
def variables(block: bytes | None) -> Mapping[str, str]:
    """Read a block; a second reading, independent of the library. The walk asks of each block hundreds of times."""
    if not block or not block.startswith(b"# GRUB Environment Block\n"):
        return {}
    found = dict(re.findall(r"^(\w+)=(.*)$", block.decode(), re.MULTILINE))
    return found if found.get("boot_cycle") != "?" else {}


@lru_cache(1 << 16)
def phase_of(booted: str | None, block: bytes | None, witness: bytes | None) -> str | None:
    """Tell the phase, as docs/protocol.md has it; None: the block is damaged."""
    found = variables(block)
    if block and not found and block != environment_block():
        return None
    default = variables(witness).get("mb_trusted", "A") if not block else "A"
    agree = booted == found.get("boot_alternative", default)
    match found.get("boot_cycle", "stable"):
        case "first_boot":
            return "trial" if agree else "pending"
        case "failsafe_check":
            return "trial" if agree else "conflict"
    return "idle" if agree else "conflict"
