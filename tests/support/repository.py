"""A signed repository with one release, made by the project's own hands, for tests that then change it."""

import os
from collections.abc import Sequence
from pathlib import Path

from manageboot.publish import build, keys, root, sign
from manageboot.publish.build import Plan
from manageboot.publish.root import Changes
from manageboot.publish.sign import Order

BOOT, ROOT = b"\x12boot" * 3000, b"\x13root" * 300_000 + bytes(3 << 20) + b"the end"
OTHERS = ("targets", "snapshot", "timestamp")


class Repository:
    """What is published, and the keys beside it, each in the file of its name."""

    def __init__(self, directory: Path) -> None:
        self.www = directory / "www"
        self.keys = directory / "keys"
        self.images = directory / "images"

    def make(self) -> None:
        """Make keys, a root, and release 1.0 with index 1."""
        for folder in (self.www, self.keys, self.images):
            folder.mkdir(parents=True)
        for name in ("root1", "root2", "root3", *OTHERS):
            keys.generate(str(self.keys / name))
        (self.images / "boot.img").write_bytes(BOOT)
        (self.images / "root.img").write_bytes(ROOT)
        self.change_root(
            "root1",
            "root2",
            add=[("root", f"root{number}") for number in (1, 2, 3)] + [(role, role) for role in OTHERS],
        )
        self.build("1.0", 1)
        self.sign("1.0")

    def key(self, *names: str) -> list[str]:
        return [str(self.keys / name) for name in names]

    def change_root(
        self, *signers: str, add: Sequence[tuple[str, str]] = (), days: int | None = None, **changes: object
    ) -> str:
        """Change the root; `add` names keys by their files."""
        public = [(role, f"{self.keys / name}.pub") for role, name in add]
        return root.change(str(self.www), Changes(add=public, days=days, **changes), self.key(*signers))

    def build(self, version: str, index: int) -> None:
        images = [str(self.images / "boot.img"), str(self.images / "root.img")]
        build.build(images, Plan(str(self.www), index, version=version, level=1, threads=1, style="none"))

    def sign(self, *versions: str, by: tuple[str, ...] = OTHERS, **order: object) -> str:
        return sign.sign(str(self.www), Order(versions, private_keys=self.key(*by), style="none", **order))

    def metadata(self) -> dict[str, bytes]:
        folder = self.www / "metadata"
        return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}
