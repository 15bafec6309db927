"""A node whose booted slot holds a release, and the next release with a delta from it, in a directory."""

import hashlib
import json
import random
from pathlib import Path
from shutil import rmtree

from support.deltas import Images, changed, with_delta
from support.node import LoopNode
from support.releases import small_release

SIZES = {"boot": 300_700, "root": (5 << 20) // 2}


class DeltaNode:
    """The node, and the releases 1.0 and 1.1; whoever installs pins the second one."""

    def __init__(
        self,
        node: LoopNode,
        images: Images | None = None,
        new_images: Images | None = None,
        *,
        dictionary_blocks: int | None = None,
    ) -> None:
        """Let the booted slot hold images; without any, it holds what lies at the beginning of its devices."""
        self.node = node
        if images is None:
            images = {role: node.device_bytes("A", role)[:size] for role, size in SIZES.items()}
        else:
            for role, content in images.items():
                with open(node.devices["A"][role], "r+b", buffering=0) as device:
                    device.write(content)
        self.new_images = new_images or changed(images, random.Random(1))
        self.old = small_release(images, version="1.0")
        new = small_release(self.new_images, version="1.1", release_index=2)
        self.new = with_delta(new, self.new_images, self.old, images, dictionary_blocks=dictionary_blocks)
        self.www = node.directory / "www"
        self.words: list[str | Path] = ["upgrade-install", self.www / "1.1", *self.pin]
        self._floor = node.grubenv.parent / "manageboot.floor"
        self.reset()

    @property
    def pin(self) -> list[str]:
        """The words that pin the new release."""
        return ["--release-sha256", hashlib.sha256(self.new.description).hexdigest()]

    def reset(self) -> None:
        """Publish it, let the node know what its booted slot holds, and fill the other one with old data."""
        rmtree(self.www, ignore_errors=True)
        self.new.write(self.www / "1.1")
        self.node.write_config()
        for role, content in self.new_images.items():
            with open(self.node.devices["B"][role], "r+b", buffering=0) as device:
                device.write(b"old data" * (len(content) // 8))
        (self.node.state / "record.json").unlink(missing_ok=True)
        self.remember()

    def remember(self) -> None:
        """Let the node know which release its booted slot holds, and nothing of the other one."""
        held = {"version": "1.0", "index": 1, "min_index": 0, "signed_by": [], "transaction": "aa"}
        slots = {"A": held | {"sha256": hashlib.sha256(self.old.description).hexdigest()}}
        self._floor.write_text(json.dumps({"schema": 1, "index": 1, "min_index": 0, "slots": slots}))

    def holds(self) -> bool:
        """Say whether the passive slot holds the new images."""
        return all(self.node.device_bytes("B", role).startswith(one) for role, one in self.new_images.items())

    @property
    def cost(self) -> int:
        """What the delta costs, in bytes."""
        return sum(map(len, (self.new.idx, *self.new.deltas.values())))
