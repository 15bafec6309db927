"""What is left of the crash proof when it is ended, or when somebody still has its disks open: nothing."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from support.loop import run
from support.served import served

pytestmark = [pytest.mark.devices, pytest.mark.grub]

PATIENCE_S = 60
TESTS = Path(__file__).parents[1]
KILLS = """
import sys
from pathlib import Path
from install.kills import kill_many
from support.ending import listen
listen()
kill_many(Path(sys.argv[1]), 1000, seed=1, root_size=16 << 20)
"""


def loop_devices_of(directory: Path) -> list[str]:
    files = [Path(file) for file in run("losetup", "--noheadings", "--list", "--output", "BACK-FILE").splitlines()]
    return [str(file) for file in files if file.is_relative_to(directory)]


def test_no_loop_device_is_left_when_it_is_ended_in_the_middle(tmp_path: Path):
    command = [sys.executable, "-c", KILLS, tmp_path]
    with subprocess.Popen(command, cwd=TESTS, stderr=subprocess.PIPE) as killing:
        assert killing.stderr is not None
        while killing.stderr.read(1) not in {b"1", b""}:
            pass
        assert len(loop_devices_of(tmp_path)) == 7
        killing.send_signal(signal.SIGTERM)
        _, said = killing.communicate(timeout=PATIENCE_S)
    assert killing.returncode == 143, said
    assert b"Traceback" not in said
    assert loop_devices_of(tmp_path) == []


def test_disks_that_are_still_in_use_are_taken_away(tmp_path: Path):
    disks, mount = tmp_path / "disks", tmp_path / "mount"
    for path in (disks, mount):
        path.mkdir()
    (disks / "disk").write_bytes(b"old data")
    descriptor = -1
    with pytest.raises(AssertionError, match="busy"), served(disks, mount, stop_limit_s=0.5):
        descriptor = os.open(mount / "disk", os.O_RDONLY)
    assert not os.path.ismount(mount)
    with pytest.raises(OSError, match=r"not connected|connection abort"):
        os.pread(descriptor, 8, 0)
    with suppress(OSError):  # it says once more that there is nobody to tell
        os.close(descriptor)
