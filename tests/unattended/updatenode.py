"""A node on loop devices that updates itself from a signed channel, in this process."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from manageboot.cli import main
from manageboot.release.rollout import WHOLE
from support.node import LoopNode
from support.releases import Small, small_release
from support.tufrepository import Repository

ALWAYS = 'window = "hourly"\nwindow_duration = "1h"'
NEVER = 'window = "2020-01-01"'


class UpdateNode:
    """A node, and the repository that its releases come from."""

    def __init__(self, directory: Path, node: LoopNode) -> None:
        self.directory = directory
        self.node = node
        self.repository = Repository(directory / "www")
        self.memory = node.grubenv.parent / "manageboot.update"
        self.metrics = directory / "metrics"
        self.metrics.mkdir()
        self.configure("commit")

    def configure(self, unattended: str, more: str = ALWAYS, *, mirrors: str | None = None) -> None:
        """Write the configuration."""
        mirror = mirrors or str(self.repository.directory)
        self.node.write_config(
            channel=f'mirrors = ["{mirror}"]\nroot = "{self.repository.root_path}"\n'
            f'unattended = "{unattended}"\n{more}\n[metrics]\ndirectory = "{self.metrics}"',
            install="check_content = false",
        )

    def publish(self, index: int, basis_points: int = WHOLE) -> Small:
        """Sign a release for so many nodes; its images are small, and differ from those of all others."""
        images = {"boot": b"\x12boot%d" % index * 30_000, "root": b"\x13root%d" % index * 30_000}
        release = small_release(images, version=f"1.{index}", release_index=index)
        if not (self.repository.directory / f"1.{index}").exists():
            self.repository.add(release, f"1.{index}")
        self.stage(index, basis_points)
        return release

    def stage(self, index: int, basis_points: int) -> None:
        """Sign a release that is there for so many nodes."""
        rollout = {"basis_points": basis_points}
        self.repository.custom[f"1.{index}/release.json"] = {"index": index, "rollout": rollout}
        self.repository.publish()

    def withdraw(self, index: int) -> None:
        """Sign no more that there is a release."""
        del self.repository.targets[f"1.{index}/release.json"]
        self.repository.publish()

    def run(self, *words: str) -> int:
        """Run the command line in this process; return the exit status."""
        return main.run(["-c", str(self.node.config), *words])

    def update(self, *words: str) -> str:
        """Update as the timer does; return how it ended."""
        assert self.run("update", *words) == 0
        return self.last()["result"]

    def last(self) -> dict[str, Any]:
        """What is told of the last run."""
        return json.loads((self.node.lock.parent / "update.json").read_text())

    def remembered(self) -> dict[str, Any]:
        """What survives."""
        return json.loads(self.memory.read_text())

    def reboots(self) -> int:
        """How often the node was told to reboot."""
        return os.path.getsize(self.node.reboots) if self.node.reboots.exists() else 0

    def holds(self, slot: str) -> str | None:
        """The version in the record of a slot."""
        path = self.node.state / "record.json"
        return json.loads(path.read_text())["slots"].get(slot, {}).get("version") if path.exists() else None

    def events(self) -> list[str]:
        """What the history has."""
        return [
            json.loads(line[9:])["event"]
            for line in (self.node.grubenv.parent / "manageboot.log").read_text().splitlines()
            if line.strip()
        ]


@contextmanager
def update_node(directory: Path) -> Iterator[UpdateNode]:
    with LoopNode(directory) as node:
        yield UpdateNode(directory, node)
