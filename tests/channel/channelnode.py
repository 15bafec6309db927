"""A node on loop devices with a channel, and the repository that its releases come from."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.images import MIB, make_image
from support.node import LoopNode
from support.releases import Small, small_release
from support.tufrepository import Repository


class ChannelNode:
    """A node, its images and its repository."""

    def __init__(self, directory: Path, node: LoopNode) -> None:
        self.directory = directory
        self.node = node
        self.repository = Repository(directory / "www")
        self.floor_file = node.grubenv.parent / "manageboot.floor"
        self.tuf_file = node.grubenv.parent / "manageboot.tuf"
        self.root = directory / "root.json"
        self.root.write_bytes(self.repository.root_path.read_bytes())
        self.configure()

    def configure(self, more: str = "", *, mirrors: str | None = None) -> None:
        """Write the configuration."""
        mirrors = mirrors or f'"{self.repository.directory}"'
        self.node.write_config(channel=f'mirrors = [{mirrors}]\nroot = "{self.root}"\n{more}')

    def release(self, index: int, **named: object) -> Small:
        """Make a release whose images differ from those of any other index, and sign it."""
        release = make_release(self.directory / f"images{index}", index, **named)
        self.repository.add(release, f"1.{index}")
        self.repository.publish()
        return release

    def holds(self, slot: str, index: int) -> bool:
        """Say whether a slot holds the images of a release."""
        return all(
            self.node.device_bytes(slot, part).startswith(
                (self.directory / f"images{index}" / f"{part}.img").read_bytes()
            )
            for part in ("boot", "root")
        )

    def confirm(self) -> None:
        """Boot what was installed, and confirm it."""
        self.node.ok("upgrade-commit", "--no-reboot")
        self.node.boot()
        self.node.ok("confirm")


def make_release(directory: Path, index: int, **named: object) -> Small:
    """Make a small release out of images in a directory."""
    directory.mkdir(parents=True)
    sizes = {"boot": MIB + 700, "root": 2 * MIB + 5}
    images = {
        role: make_image(directory / f"{role}.img", size, seed=10 * index + number).read_bytes()
        for number, (role, size) in enumerate(sizes.items())
    }
    return small_release(images, version=f"1.{index}", release_index=index, **named)  # type: ignore[arg-type]  # small_release judges them


@contextmanager
def channel_node(directory: Path) -> Iterator[ChannelNode]:
    with LoopNode(directory) as node:
        yield ChannelNode(directory, node)
