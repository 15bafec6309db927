"""What the slots of a node hold after an installation."""

import hashlib
from pathlib import Path

from support.images import MIB
from support.node import SIZES, LoopNode


def assert_holds(node: LoopNode, directory: Path, slot: str = "B") -> None:
    """The slot holds the images, byte for byte, and var is wiped."""
    for part in ("boot", "root"):
        image = (directory / f"{part}.img").read_bytes()
        assert node.device_bytes(slot, part)[: len(image)] == image
    assert node.device_bytes(slot, "var")[: 16 * MIB] == bytes(16 * MIB)
    assert node.device_bytes(slot, "var")[16 * MIB :] != bytes(SIZES["var"] - 16 * MIB)


def booted_slot_hash(node: LoopNode) -> str:
    parts = b"".join(node.device_bytes("A", part) for part in SIZES)
    return hashlib.sha256(parts + node.grubenv.read_bytes()).hexdigest()
