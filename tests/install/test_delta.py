"""A delta on a node: the slot that runs is only read, and whoever writes to it costs frames, never a wrong byte."""

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

import pytest

from manageboot.cli import main
from support import hostile
from support.deltanode import DeltaNode
from support.hostile import Hostile, honest
from support.images import MIB
from support.loop import loop_device
from support.mounts import make_ext4, mounted
from support.node import SIZES, LoopNode

pytestmark = pytest.mark.devices


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeltaNode]:
    with LoopNode(tmp_path_factory.mktemp("delta")) as node:
        yield DeltaNode(node)


@pytest.fixture
def seeded(made: DeltaNode) -> DeltaNode:
    made.reset()
    return made


def booted(node: LoopNode) -> dict[str, bytes]:
    return {part: node.device_bytes("A", part) for part in SIZES}


def install(seeded: DeltaNode, *words: str) -> int:
    return main.run(["-c", str(seeded.node.config), *words, *map(str, seeded.words)])


def test_what_changed_is_read_and_the_rest_comes_from_the_slot_that_runs(
    seeded: DeltaNode, capfd: pytest.CaptureFixture[str]
):
    before = booted(seeded.node)
    assert main.run(["-c", str(seeded.node.config), *map(str, seeded.words), "--progress", "json"]) == 0
    assert seeded.holds()
    assert booted(seeded.node) == before
    lines = capfd.readouterr().err.splitlines()
    [chosen] = [line for text in lines if text.startswith("{") and (line := json.loads(text))["phase"] == "choose"]
    assert chosen["ways"] == [
        {"way": "delta", "bytes": seeded.cost, "from": "1.0"},
        {"way": "full", "bytes": len(seeded.new.idx) + len(seeded.new.pack)},
    ]
    pack = len(seeded.new.deltas["from-1.0.pack"])
    assert lines[-1] == f"manageboot: slot B holds version 1.1; of 1.0 in the booted slot, and {pack} bytes of frames"


@pytest.mark.parametrize("fault", ["off", "another release", "no release", "broken index"])
def test_without_a_seed_or_a_delta_the_full_pack_is_taken(
    seeded: DeltaNode, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, fault: str
):
    floor = seeded.node.grubenv.parent / "manageboot.floor"
    index = seeded.www / "1.1" / "from-1.0.idx"
    match fault:
        case "off":
            seeded.node.config.write_text(f"{seeded.node.config.read_text()}[delta]\nuse = false\n")
        case "another release":
            floor.write_text(floor.read_text().replace(hashlib.sha256(seeded.old.description).hexdigest(), "0" * 64))
        case "no release":
            floor.unlink()
        case _:
            index.write_bytes(index.read_bytes()[::-1])
    assert install(seeded) == 0
    assert seeded.holds()
    assert "bytes of frames" not in capfd.readouterr().err
    assert ("the delta from 1.0 is not used" in caplog.text) == (fault == "broken index")


@pytest.mark.parametrize(("processors", "threads"), [(1, 2), (2, 3), (20, 8)])
@pytest.mark.parametrize("by_delta", [True, False])
def test_there_is_a_thread_more_where_threads_wait_for_the_disk(
    seeded: DeltaNode, monkeypatch: pytest.MonkeyPatch, processors: int, threads: int, by_delta: bool
):
    if not by_delta:
        seeded.node.config.write_text(f"{seeded.node.config.read_text()}[delta]\nuse = false\n")
        threads = min(processors, threads)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    started, start = [], threading.Thread.start

    def note(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", note)
    assert install(seeded) == 0
    assert seeded.holds()
    assert started.count("manageboot-hash") == threads


@pytest.mark.long
def test_a_root_that_is_mounted_for_writing_and_changed_costs_what_differs(
    node: LoopNode, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    disk, point = tmp_path / "ext4", tmp_path / "point"
    point.mkdir()
    with disk.open("wb") as file:
        file.truncate(8 * MIB)
    make_ext4(disk)
    with loop_device(disk) as device:
        with mounted(device, point):
            (point / "program").write_bytes(random.Random(3).randbytes(4 * MIB))
        old = {"boot": node.device_bytes("A", "boot")[: MIB + 700], "root": disk.read_bytes()}
        with mounted(device, point):
            (point / "news").write_bytes(random.Random(4).randbytes(MIB))
        new = {"boot": old["boot"][:-9] + b"a new end", "root": disk.read_bytes()}
    seeded = DeltaNode(node, old, new)
    with mounted(node.devices["A"]["root"], point):
        (point / "program").write_bytes(random.Random(5).randbytes(2 * MIB))
        os.sync()
        assert install(seeded) == 0
        assert seeded.holds()
        # The file system above goes on, whatever was read below it.
        assert (point / "program").read_bytes() == random.Random(5).randbytes(2 * MIB)
    assert "the booted slot does not give window 0 of root as 1.0 had it" in caplog.text
    assert "bytes of the full pack made up for that" in caplog.text


@pytest.mark.long
def test_a_kill_in_the_middle_of_a_delta_costs_what_was_not_written_yet(seeded: DeltaNode):
    node = seeded.node
    node.write_config(channel="backoff = 0.001")
    size = len(seeded.new.deltas["from-1.0.pack"])
    url = "www/1.1"
    with Hostile(hostile.stall(size // 2), folder=node.directory, about="from-1.0.pack") as server:
        words = node.command("upgrade-install", f"{server.url}{url}", *seeded.pin)
        with subprocess.Popen(words, stderr=subprocess.DEVNULL) as installing:
            while not written(seeded):
                assert installing.poll() is None
                time.sleep(0.02)
            installing.kill()
    assert node.record("B") == "installing"
    with Hostile(honest, folder=node.directory) as server:
        node.ok("upgrade-install", f"{server.url}{url}", *seeded.pin)
        sizes = [one.stop - one.start for one in server.asked if one.path.endswith("from-1.0.pack")]
        assert not [one for one in server.asked if one.path.endswith("full.pack")]
    assert 0 < sum(sizes) < size
    assert seeded.holds()


PEAK_MEMORY = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
ON_EIGHT = """
import os, sys
os.sched_getaffinity = lambda _: set(range(8))
from manageboot.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.long
def test_memory_is_bounded_whatever_the_number_of_processors(node: LoopNode, tmp_path: Path):
    """As many threads as there can be, the largest dictionaries there can be, and more windows than buffers."""
    dice = random.Random(6)
    old = {"boot": dice.randbytes(300_700), "root": dice.randbytes(40 * MIB)}
    new = {role: bytearray(content) for role, content in old.items()}
    for content in new.values():
        content[::4096] = bytes(len(content[::4096]))
    with ExitStack() as stack:
        for slot in "AB":
            disk = Path(stack.enter_context(TemporaryDirectory(dir=tmp_path)), "root")
            with disk.open("wb") as file:
                file.truncate(48 * MIB)
            node.devices[slot]["root"] = stack.enter_context(loop_device(disk))
        seeded = DeltaNode(node, old, {role: bytes(one) for role, one in new.items()}, dictionary_blocks=1024)
        # A small program starts it: what a process was before its exec counts as its memory too.
        words = [sys.executable, "-c", ON_EIGHT, "-c", node.config, *seeded.words]
        done = subprocess.run([sys.executable, "-c", PEAK_MEMORY, *words], capture_output=True, check=True)
        assert seeded.holds()
        rmtree(seeded.www)
    assert b"of 1.0 in the booted slot" in done.stderr
    assert 60 < int(done.stdout) / 1024 < 150


def written(seeded: DeltaNode) -> bool:
    """Say whether the first window of the root is there."""
    return seeded.node.device_bytes("B", "root").startswith(seeded.new_images["root"][:MIB])
