"""A node whose passive slot and record lie on disks that fail as they are told to."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.deltanode import DeltaNode
from support.images import MIB, make_update
from support.loop import loop_devices
from support.mounts import fill, make_ext4, mounted
from support.node import LoopNode
from support.served import Faults, served

DISKS = {"boot": MIB, "root": 3 * MIB, "var": MIB, "record": 4 * MIB}


class CrashNode:
    """A node on faulty disks, set back to the same old state for each case."""

    def __init__(
        self, node: LoopNode, disks: Path, faults: Faults, loops: dict[str, str], *, by_delta: bool = False
    ) -> None:
        self.node = node
        self._disks = disks
        self.events, self.plan = faults.events, faults.plan
        self._loops = loops
        node.devices["B"] = {part: loops[part] for part in ("boot", "root", "var")}
        node.state.mkdir()
        node.write_config()
        self._delta = DeltaNode(node) if by_delta else None
        if self._delta is None:
            self.update = make_update(node.directory / "update", boot_size=300_000, root_size=5 * MIB // 2)
        self._old = {name: (disks / name).read_bytes() for name in DISKS}
        self._booted = self._booted_slot()

    def reset(self) -> None:
        """Forget the faults, and fill the disks with old data, and the record's with an old installation's."""
        self.plan()
        for name, old in self._old.items():
            fill(self._loops[name], self._disks / name, old)
        self.node.grubenv.write_bytes(self._booted[0])
        if self._delta is not None:
            self._delta.remember()

    @contextmanager
    def record_mounted(self) -> Iterator[None]:
        """Mount the disk of the record where the record is kept; nothing is written there but what the agent writes.

        Others may sync all file systems of the machine meanwhile, and that adds events.
        """
        with mounted(self._loops["record"], self.node.state):
            yield

    def install(self) -> subprocess.CompletedProcess[str]:
        """Run upgrade-install, and see that it goes the way that it should."""
        if self._delta is None:
            return self.node.run("upgrade-install", self.update)
        done = self.node.run(*self._delta.words)
        assert ("of 1.0 in the booted slot" in done.stderr) == (done.returncode == 0), done
        return done

    def check_booted_slot(self) -> None:
        """The booted slot and the environment block are untouched."""
        assert self._booted_slot() == self._booted

    def check_complete(self) -> None:
        """The passive slot holds the images byte for byte, and var is wiped; read behind the loop devices' back."""
        for part in ("boot", "root"):
            image = self._image(part)
            assert (self._disks / part).read_bytes()[: len(image)] == image, part
        assert (self._disks / "var").read_bytes() == bytes(DISKS["var"])

    def commit(self) -> subprocess.CompletedProcess[str]:
        """Run upgrade-commit."""
        return self.node.run("upgrade-commit", "--no-reboot")

    def _image(self, part: str) -> bytes:
        if self._delta is not None:
            return self._delta.new_images[part]
        return (self.update.parent / f"{part}.img").read_bytes()

    def _booted_slot(self) -> tuple[bytes, ...]:
        files = [self.node.directory / f"A_{part}" for part in ("boot", "root", "var")]
        return self.node.grubenv.read_bytes(), *(file.read_bytes() for file in files)


@contextmanager
def crash_node(directory: Path, *, by_delta: bool = False) -> Iterator[CrashNode]:
    """Make a node on faulty disks, which takes an archive, or a release by its delta."""
    disks, mount = directory / "disks", directory / "mount"
    for path in (disks, mount):
        path.mkdir(parents=True)
    for name, size in DISKS.items():
        (disks / name).write_bytes(b"old data" * (size // 8))
    make_ext4(disks / "record")
    with LoopNode(directory) as node, served(disks, mount) as faults, loop_devices(mount, DISKS) as loops:
        yield CrashNode(node, disks, faults, loops, by_delta=by_delta)
