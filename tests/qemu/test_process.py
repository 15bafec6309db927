"""Programs of the host that build a node: what is left of one that is killed."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from qemu_harness.process import ALONE

PATIENCE_S = 30


@pytest.mark.devices
def test_a_killed_program_leaves_neither_mounts_nor_children(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    mount = tmp_path / "mount"
    mount.mkdir()
    script = f"mount -t tmpfs none {mount} && echo mounted; exec sleep 1000"
    command = [*ALONE, "sh", "-c", f"{script} & wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"mounted\n"
        # Not even while it runs is it seen here.
        assert not os.path.ismount(mount)
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        program.send_signal(signal.SIGKILL)
    [first] = children
    deadline = time.monotonic() + PATIENCE_S
    # The first of its processes takes all others with it.
    while Path(f"/proc/{first}").exists() and "\nState:\tZ" not in Path(f"/proc/{first}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not os.path.ismount(mount)
