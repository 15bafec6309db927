"""A large installation, killed at any instant."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.ending import end_if_asked
from support.images import MIB, make_update
from support.loop import loop_device
from support.node import LoopNode

ROOT_SIZE = 256 * MIB
_SHRINK = 0.9


class KillNode:
    """A node with a larger root, and the update image for it."""

    def __init__(self, node: LoopNode, root_size: int) -> None:
        self.node = node
        self._files = {part: node.directory / f"B_{part}" for part in ("boot", "root")}
        self._files["root"] = node.directory / "B_large_root"
        self.update = make_update(node.directory / "update", root_size=root_size - MIB)
        started = time.monotonic()
        node.ok("upgrade-install", self.update)
        self.duration_s = time.monotonic() - started
        self._booted = self._booted_slot()

    def fill_with_old_data(self, dice: random.Random) -> None:
        """Overwrite the passive slot, so that nothing of an earlier installation helps this one."""
        for part, path in self._files.items():
            piece = dice.randbytes(MIB)
            with open(self.node.devices["B"][part], "r+b") as device:
                device.writelines(piece for _ in range(path.stat().st_size // MIB))
        (self.node.state / "record.json").unlink(missing_ok=True)

    def kill_one(self, dice: random.Random) -> tuple[str, str]:
        """Kill an installation at a random instant, judge what it left, and install again.

        Returns:
            What became of the slot, "void" or "complete", and what the second installation said.
        """
        while not self._killed(dice):
            # The machine has become faster since the duration was measured.
            self.duration_s *= _SHRINK
            self.fill_with_old_data(dice)
        assert self._booted_slot() == self._booted
        assert self.node.status()["running"] is None
        recorded = self.node.record("B")
        if recorded == "installed":
            self._check_complete()
            outcome = "complete"
        else:
            assert recorded in {None, "installing"}, recorded
            self.node.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")
            outcome = "void"
        second = self.node.run("upgrade-install", self.update)
        assert second.returncode == 0, second
        self._check_complete()
        assert self.node.record("B") == "installed"
        return outcome, second.stderr

    def _killed(self, dice: random.Random) -> bool:
        """Kill an installation; False if it had ended by then."""
        command = self.node.command("upgrade-install", self.update)
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as installing:
            time.sleep(dice.uniform(0, self.duration_s))
            installing.kill()
        return installing.returncode < 0

    def _check_complete(self) -> None:
        for part in self._files:
            image = self.update.parent / f"{part}.img"
            subprocess.run(["cmp", f"--bytes={image.stat().st_size}", image, self.node.devices["B"][part]], check=True)

    def _booted_slot(self) -> tuple[bytes, ...]:
        files = [self.node.directory / f"A_{part}" for part in ("boot", "root", "var")]
        return self.node.grubenv.read_bytes(), *(file.read_bytes() for file in files)


@contextmanager
def kill_node(directory: Path, root_size: int) -> Iterator[KillNode]:
    """Make a node whose passive root is large."""
    directory.mkdir(parents=True, exist_ok=True)
    disk = directory / "B_large_root"
    with disk.open("wb") as file:
        file.truncate(root_size)
    with LoopNode(directory) as node, loop_device(disk) as device:
        node.devices["B"]["root"] = device
        node.write_config()
        yield KillNode(node, root_size)


def kill_many(directory: Path, count: int, *, seed: int, root_size: int = ROOT_SIZE) -> dict[str, int]:
    """Kill so many installations, and count what became of them."""
    dice = random.Random(seed)
    counts = {"void": 0, "complete": 0, "resumed": 0}
    with kill_node(directory, root_size) as node:
        for number in range(count):
            end_if_asked()
            node.fill_with_old_data(dice)
            outcome, said = node.kill_one(dice)
            counts[outcome] += 1
            counts["resumed"] += "were there already" in said
            print(f"\r{number + 1} of {count} kills", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return counts
