"""A signal ends an installation soon, wherever it finds it."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from manageboot.install.imagewriter import ZEROS_BYTES
from support.images import MIB, make_image, make_update, pack
from support.loop import loop_device
from support.node import LoopNode
from support.served import served

PATIENCE_S = 120
HOLE_BYTES = 1 << 30


def bytes_moved(path: str) -> int:
    """What was read and written since the kernel made the device.

    Source: linux, Documentation/admin-guide/iostats.rst, fields 3 and 7, in sectors of 512 bytes.
    """
    fields = (Path("/sys/class/block") / Path(path).name / "stat").read_text().split()
    return 512 * (int(fields[2]) + int(fields[6]))


@pytest.fixture
def update(tmp_path: Path) -> Path:
    """An update image whose root is one hole, but for its first bytes."""
    directory = tmp_path / "update"
    directory.mkdir()
    make_image(directory / "boot.img", MIB, seed=1)
    with (directory / "root.img").open("wb") as file:
        file.write(random.Random(2).randbytes(4096))
        file.truncate(HOLE_BYTES)
    (directory / "VERSION.TXT").write_text("0.2.0\n")
    return pack(directory, "boot.img", "root.img", "VERSION.TXT")


STORE_AND_SIGNAL = """
import os, signal, sys
from manageboot.cli import main; from manageboot.boot import record; from manageboot.system import signals

store, calls = record.store, []

def signalled(directory, records):
    calls.append(records)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGTERM)
    store(directory, records)

record.store = signalled
signals.listen()
sys.exit(main.run(sys.argv[1:]))
"""


@pytest.mark.devices
def test_a_signal_that_comes_after_a_failure_does_not_cost_its_cause(node: LoopNode, tmp_path: Path):
    update = make_update(tmp_path / "update")
    arguments = ["-c", node.config, "upgrade-install", update, "--sha256", "0" * 64]
    done = subprocess.run([sys.executable, "-c", STORE_AND_SIGNAL, *arguments], check=False, timeout=PATIENCE_S)
    assert done.returncode == 65
    record = node.status()["slots"]["B"]["record"]
    assert (record["state"], "expected sha256" in record["failure"]) == ("void", True)


@pytest.mark.devices
def test_a_signal_does_not_wait_for_a_large_hole(node: LoopNode, update: Path, tmp_path: Path):
    # Over FUSE, the device makes no zeros itself: each of them is read or sent.
    disks, mount = tmp_path / "disks", tmp_path / "mount"
    for path in (disks, mount):
        path.mkdir()
    with (disks / "root").open("wb") as file:
        file.truncate(HOLE_BYTES)
    with served(disks, mount), loop_device(mount / "root") as root:
        node.devices["B"]["root"] = root
        node.write_config()
        begin = bytes_moved(root)
        with subprocess.Popen(node.command("upgrade-install", str(update)), stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + PATIENCE_S
            while bytes_moved(root) - begin < 2 * ZEROS_BYTES:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            before = bytes_moved(root)
            assert process.wait(PATIENCE_S) == 128 + signal.SIGTERM
        # What it was at, and no more; it may have begun another one before the signal came.
        assert bytes_moved(root) - before <= 2 * ZEROS_BYTES
        assert bytes_moved(root) - begin < HOLE_BYTES // 2
    assert node.record("B") == "void"
