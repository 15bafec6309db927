"""Whoever is killed while a release is fetched: the next one goes on where it was, and next to nothing comes twice.

What a server has sent is counted there. A kill may cost the frame that is on its way, and what is in the pipe. Both end
at the instant that a seed chooses: after so many bytes, and so long after that.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from manageboot.release import index
from support.images import MIB
from support.line import Line
from support.node import LoopNode
from support.releases import Small, small_release

pytestmark = pytest.mark.devices

AHEAD = 64 * 1024
"""What the pipe of the child holds."""
PATIENCE_S = 300


class Kills(NamedTuple):
    """What came of an installation and its kills."""

    kills: int
    wasted: int
    """Bytes that came though nobody needed them any more."""


class KillNode:
    """A node that installs a release again and again, and is not left alone."""

    def __init__(self, node: LoopNode, line: Line, images: dict[str, bytes], release: Small) -> None:
        self.node = node
        self.line = line
        self.size = len(release.pack)
        self.frame = max(frame.size for frame in index.Index(release.idx).frames())
        self._images = images
        self._dice = random.Random(18)
        pin = hashlib.sha256(release.description).hexdigest()
        self._command = node.command("upgrade-install", f"{line.server.url}1.1", "--release-sha256", pin)
        self._block = node.grubenv.read_bytes()

    def install(self, victim: str, kills: int) -> Kills:
        """Install the release into a slot that has nothing of it, with at most so many kills on the way."""
        before, done = self.line.sent, 0
        (self.node.state / "record.json").unlink(missing_ok=True)
        for role in self._images:
            wipe(self.node.devices["B"][role])
        shutil.rmtree(self.node.lock.parent / "fetched", ignore_errors=True)
        while True:
            with subprocess.Popen(
                self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            ) as process:
                while done < kills and self._comes_to_it(process):
                    if self._kill(process, victim):
                        done += 1
                    if victim == "parent":
                        break
                said = process.communicate(timeout=PATIENCE_S)[1]
            assert self.node.grubenv.read_bytes() == self._block
            # The last instant may be after all is done.
            if process.returncode == 0 or self._state() == "installed":
                assert self.is_whole()
                return Kills(done, self.line.sent - before - self.size)
            assert (process.returncode, victim) == (-9, "parent"), said
            assert self._state() in {None, "installing"}

    def is_whole(self) -> bool:
        """Tell whether the slot holds the release."""
        return all(self.node.device_bytes("B", role).startswith(image) for role, image in self._images.items())

    def _state(self) -> str | None:
        """What the record says of the slot; None: nothing."""
        path = self.node.state / "record.json"
        return json.loads(path.read_text())["slots"]["B"]["state"] if path.exists() else None

    def _comes_to_it(self, process: subprocess.Popen[str]) -> bool:
        """Wait for the instant of the next kill; tell whether it came."""
        self.line.wake_after(self._dice.randrange(self.frame * 3 // 2))
        while not self.line.reached.wait(0.01):
            if process.poll() is not None:
                return False
        time.sleep(self._dice.choice([0, 0, self._dice.uniform(0, 0.05)]))
        return True

    @staticmethod
    def _kill(process: subprocess.Popen[str], victim: str) -> bool:
        if victim == "parent":
            process.kill()
            return True
        children = " ".join(path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/children"))
        killed = 0
        for child in children.split():
            # The one that was done is gone a moment later.
            with suppress(ProcessLookupError):
                os.kill(int(child), 9)
                killed += 1
        return killed > 0


def wipe(device: str) -> None:
    descriptor = os.open(device, os.O_WRONLY)
    try:
        os.pwrite(descriptor, bytes(os.lseek(descriptor, 0, os.SEEK_END)), 0)
    finally:
        os.fsync(descriptor)
        os.close(descriptor)


def make_release() -> tuple[dict[str, bytes], Small]:
    """Make a release of frames that are large and small, with windows of zeros between them."""
    dice = random.Random(1)
    windows = [dice.randbytes(MIB), dice.randbytes(MIB // 4).ljust(MIB, b"\x07"), bytes(MIB), dice.randbytes(MIB)]
    images = {
        "boot": dice.randbytes(2 * MIB + 700),
        "root": b"".join([*windows, *windows[:2], dice.randbytes(5 * MIB)]),
    }
    return images, small_release(images, version="1.1")


@pytest.fixture(scope="module")
def published() -> tuple[dict[str, bytes], Small]:
    return make_release()


@pytest.fixture
def kill_node(tmp_path: Path, published: tuple[dict[str, bytes], Small]) -> Iterator[KillNode]:
    images, release = published
    release.write(tmp_path / "www/1.1")
    line = Line(tmp_path / "www")
    with LoopNode(tmp_path) as node, line.server:
        node.write_config(channel="backoff = 0.001\ndeadline = 600", install="check_content = false")
        yield KillNode(node, line, images, release)


@pytest.mark.parametrize(
    ("victim", "kills"),
    [("parent", 2), ("child", 1), *(pytest.param(who, 100, marks=pytest.mark.long) for who in ("parent", "child"))],
)
def test_a_kill_costs_no_more_than_the_frame_on_its_way(kill_node: KillNode, victim: str, kills: int):
    done, wasted, rounds = 0, 0, 0
    while done < kills:
        one = kill_node.install(victim, min(kills - done, 12))
        assert 0 <= one.wasted <= one.kills * (kill_node.frame + AHEAD), one
        done, wasted, rounds = done + one.kills, wasted + one.wasted, rounds + 1
    print(
        f"{done} kills of the {victim} in {rounds} installations of {kill_node.size} bytes: {wasted} bytes came twice,"
        f" {wasted / done / kill_node.frame:.2f} of a frame for each"
    )
    assert not (kill_node.node.lock.parent / "fetched").exists()
