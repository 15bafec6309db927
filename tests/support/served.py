"""The server of the faulty disks: it goes away with its test, whatever has become of it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import faultydisk

_START_LIMIT_S = 60
_STOP_LIMIT_S = 300


class Faults:
    """What the disks are told to do, and what they say of it."""

    def __init__(self, mount: Path) -> None:
        self._control = mount / faultydisk.CONTROL.strip("/")

    def events(self) -> list[str]:
        """Which writes and flushes there were since the last plan."""
        events: list[str] = json.loads(self._control.read_bytes())
        return events

    def plan(self, **plan: Any) -> None:
        """Tell the disks what to do next; nothing: to work."""
        descriptor = os.open(self._control, os.O_WRONLY)
        try:
            os.write(descriptor, json.dumps({"event": None, "mode": None, **plan}).encode())
        finally:
            os.close(descriptor)


@contextmanager
def served(disks: Path, mount: Path, *, stop_limit_s: float = _STOP_LIMIT_S) -> Iterator[Faults]:
    """Serve the files of a folder as disks that fail as they are told to.

    Args:
        disks: the folder with the files.
        mount: an empty folder, in which the disks and the file `control` appear.
        stop_limit_s: how long to wait at the end for whoever has a disk open.

    Raises:
        AssertionError: somebody still had a disk open at the end; it is gone all the same.
    """
    command = [sys.executable, faultydisk.__file__, mount, disks]
    # In a group of its own: a signal from the terminal is for those who use the disks, and the disks outlive them.
    with subprocess.Popen(command, process_group=0) as server:
        try:
            deadline = time.monotonic() + _START_LIMIT_S
            while not os.path.ismount(mount):
                assert server.poll() is None, "the file system did not start"
                assert time.monotonic() < deadline, "the file system did not appear"
                time.sleep(0.02)
            yield Faults(mount)
        finally:
            _stop(server, mount, stop_limit_s)


def _stop(server: subprocess.Popen[bytes], mount: Path, limit_s: float) -> None:
    """Unmount it, and wait for its server; where that does not help, end the server first."""
    try:
        unmount(mount, limit_s)
        server.wait(_STOP_LIMIT_S)
    finally:
        if server.poll() is None:
            # Whoever still waits for a disk gets an error now, and the mount goes with the last of them.
            server.kill()
            subprocess.run(["umount", "--lazy", mount], check=False, stderr=subprocess.DEVNULL)


def unmount(mount: Path, limit_s: float = _STOP_LIMIT_S) -> None:
    """Unmount it once nobody has one of its disks open any more: whoever looks at all disks may have, for an instant.

    Raises:
        AssertionError: somebody still had at the end.
    """
    deadline = time.monotonic() + limit_s
    while True:
        done = subprocess.run(["umount", mount], check=False, stderr=subprocess.PIPE, text=True, timeout=_STOP_LIMIT_S)
        if done.returncode == 0:
            return
        assert "busy" in done.stderr and time.monotonic() < deadline, done.stderr
        time.sleep(0.1)
