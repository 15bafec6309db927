"""A node that is two releases behind: it gets the new one through the one between, which it never installs."""

import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from install.test_delta import ON_EIGHT, PEAK_MEMORY
from manageboot.cli import main
from support import hostile
from support.chains import Chain, chain_of
from support.deltas import Images
from support.hostile import Hostile, asked, honest
from support.images import MIB
from support.loop import loop_device
from support.node import LoopNode
from support.tufrepository import Repository

pytestmark = pytest.mark.devices

SIZES = {"boot": 300_700, "root": (5 << 20) // 2}


class ChainNode:
    """Slot A runs release 1.0, and the repository has 1.1 and 1.2."""

    def __init__(self, node: LoopNode, images: Images | None = None, *, dictionary_blocks: int | None = None) -> None:
        self.node = node
        images = images or {role: node.device_bytes("A", role)[:size] for role, size in SIZES.items()}
        for role, content in images.items():
            with open(node.devices["A"][role], "r+b", buffering=0) as device:
                device.write(content)
        self.chain: Chain = chain_of(images, random.Random(31), dictionary_blocks=dictionary_blocks)
        self.repository = Repository(node.directory / "www")
        for version, release in (("1.1", self.chain.between), ("1.2", self.chain.new)):
            self.repository.add(release, version)
        self.repository.publish()
        self.configure(f"{self.repository.directory}")
        (node.state / "record.json").unlink(missing_ok=True)
        held = {"version": "1.0", "index": 1, "min_index": 0, "signed_by": [], "transaction": "aa"}
        slots = {"A": held | {"sha256": hashlib.sha256(self.chain.old.description).hexdigest()}}
        floor = {"schema": 1, "index": 1, "min_index": 0, "slots": slots}
        (node.grubenv.parent / "manageboot.floor").write_text(json.dumps(floor))

    def configure(self, mirror: str, more: str = "") -> None:
        channel = f'mirrors = ["{mirror}"]\nroot = "{self.repository.root_path}"\nbackoff = 0.001\n{more}'
        self.node.write_config(channel=channel)

    def holds(self) -> bool:
        new = self.chain.images[2]
        return all(self.node.device_bytes("B", role).startswith(one) for role, one in new.items())

    @property
    def packs(self) -> int:
        return self.chain.first.pack.size + self.chain.second.pack.size


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[ChainNode]:
    with LoopNode(tmp_path) as node:
        yield ChainNode(node)


def test_what_it_costs_is_told_before_and_is_what_comes(ours: ChainNode, capfd: pytest.CaptureFixture[str]):
    report = json.loads(ours.node.ok("check", "--json"))
    taken = {"way": "delta", "bytes": ours.chain.cost, "from": "1.0", "through": "1.1"}
    full = {"way": "full", "bytes": len(ours.chain.new.idx) + len(ours.chain.new.pack)}
    assert [one["ways"][:2] for one in report["releases"] if one["version"] == "1.2"] == [[taken, full]]
    assert f"{ours.chain.cost} bytes as delta from 1.0 through 1.1, " in ours.node.ok("check")
    capfd.readouterr()
    assert main.run(["-c", str(ours.node.config), "upgrade-install", "--progress", "json"]) == 0
    assert ours.holds()
    lines = capfd.readouterr().err.splitlines()
    shown = [json.loads(line) for line in lines if line.startswith("{")]
    assert [line["ways"] for line in shown if line["phase"] == "choose"] == [[taken, full]]
    [ahead] = [line for line in shown if line["phase"] == "fetch" and line["state"] == "done"]
    assert ahead["bytes_done"] == ahead["bytes_total"] == ours.chain.first.pack.size
    assert {line["bytes_total"] for line in shown if line["phase"] == "write"} == {ours.chain.second.pack.size}
    assert (
        lines[-1]
        == f"manageboot: slot B holds version 1.2; of 1.0 in the booted slot, and {ours.packs} bytes of frames"
    )
    # It is of no use any more.
    assert not (ours.node.lock.parent / "fetched-ahead").exists()


def test_without_deltas_nothing_is_looked_for(ours: ChainNode):
    with Hostile(honest, folder=ours.repository.directory) as server:
        ours.configure(server.url)
        ours.node.config.write_text(f"{ours.node.config.read_text()}[delta]\nuse = false\n")
        ours.node.ok("upgrade-install")
    assert ours.holds()
    assert not [one for one in server.asked if one.path.endswith((".pack", "release.idx")) and "1.1" in one.path]


@pytest.mark.parametrize("about", ["from-1.0.pack", "from-1.1.pack"])
def test_a_kill_costs_nothing_that_was_whole(ours: ChainNode, about: str):
    """In the first pack, as in the second: what came is not asked for again."""
    size = (ours.chain.first if about == "from-1.0.pack" else ours.chain.second).pack.size
    limit = size * 2 // 3

    def ends(reply: hostile.Reply, wanted: hostile.Asked) -> None:
        reply.part(wanted)
        reply.raw(wanted.content[wanted.start : min(wanted.stop, limit)])
        if wanted.stop > limit:
            reply.closing.wait(60)
            reply.keep = False

    with Hostile(ends, folder=ours.repository.directory, about=about) as server:
        ours.configure(server.url)
        words = ours.node.command("upgrade-install")
        with subprocess.Popen(words, stderr=subprocess.DEVNULL) as installing:
            while not [one for one in server.asked if one.path.endswith(about) and one.stop > limit]:
                assert installing.poll() is None
                time.sleep(0.02)
            # What was sent is taken within that.
            time.sleep(1)
            installing.kill()
    first = asked(server)
    assert not ours.holds()
    with Hostile(honest, folder=ours.repository.directory) as server:
        ours.configure(server.url)
        ours.node.ok("upgrade-install")
    assert ours.holds()
    second = asked(server)
    assert second[about] < size
    if about == "from-1.1.pack":
        assert first["from-1.0.pack"] == ours.chain.first.pack.size
        assert "from-1.0.pack" not in second
    assert "full.pack" not in first | second


@pytest.mark.long
def test_memory_is_bounded_as_for_one_delta(tmp_path: Path):
    """As many threads as there can be, and both times the largest dictionaries that there can be."""
    dice = random.Random(6)
    with LoopNode(tmp_path) as node, ExitStack() as stack:
        for slot in "AB":
            disk = tmp_path / f"{slot}_large"
            with disk.open("wb") as file:
                file.truncate(48 * MIB)
            node.devices[slot]["root"] = stack.enter_context(loop_device(disk))
        images = {"boot": dice.randbytes(300_700), "root": dice.randbytes(40 * MIB)}
        ours = ChainNode(node, images, dictionary_blocks=1024)
        words = [sys.executable, "-c", ON_EIGHT, "-c", node.config, "upgrade-install"]
        done = subprocess.run([sys.executable, "-c", PEAK_MEMORY, *words], capture_output=True, check=True)
        assert ours.holds()
    assert b"of 1.0 in the booted slot" in done.stderr
    assert 60 < int(done.stdout) / 1024 < 150
