"""Events after the fact: what is told of an installation is on the disk, flushed and read back, when it is told."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from support.images import make_update
from support.node import LoopNode

pytestmark = pytest.mark.devices

_CALLS = "pwrite64,preadv,preadv2,ioctl,fsync,fdatasync,write,rename,renameat,renameat2"
_SHOWN_BYTES = "2000"
"""How much of what is written strace shows: a whole event, a whole record."""


class Traced(NamedTuple):
    """The system calls of an installation, in the order in which they began."""

    calls: list[str]
    main: str
    """The number of the thread that called the installation."""

    def positions(self, pattern: str) -> list[int]:
        return [number for number, call in enumerate(self.calls) if re.search(pattern, call)]

    def told(self, what: str) -> int:
        """Where something is told for the first time; the main thread does so."""
        first = self.positions(rf"^\d+ +p?write(64)?\(\d+<.*{re.escape(what)}")[0]
        assert self.calls[first].split()[0] == self.main, self.calls[first]
        return first

    def is_on_the_disk(self, device: str, end: int) -> bool:
        """Whether everything that the run ever writes to a device was written, flushed and read by a call."""
        on = rf"\(\d+<{device}>"
        last_write = self.positions(rf"(pwrite64{on}|ioctl{on}, BLKZEROOUT)")[-1]
        flushes = [at for at in self.positions(rf"fsync{on}") if last_write < at < end]
        return bool(flushes) and any(flushes[0] < at < end for at in self.positions(rf"preadv2?{on}"))


@pytest.fixture
def traced(node: LoopNode, tmp_path: Path) -> Traced:
    (tmp_path / "metrics").mkdir()
    node.config.write_text(node.config.read_text() + f'[metrics]\ndirectory = "{tmp_path}/metrics"\n')
    log = tmp_path / "strace"
    strace = ["strace", "-f", "-y", "-o", str(log), "-s", _SHOWN_BYTES, "-e", f"trace={_CALLS}"]
    command = node.command("guestos", "upgrade-install", make_update(tmp_path / "update"))
    subprocess.run([*strace, *command], check=True, capture_output=True, timeout=120)
    calls = log.read_text().splitlines()
    return Traced(calls, calls[0].split()[0])


def test_nothing_is_told_before_it_is_on_the_disk(node: LoopNode, traced: Traced):
    devices = node.devices["B"]
    for role in ("root", "boot"):
        at = traced.told(f'written_{role}=\\"{devices[role]}')
        assert traced.is_on_the_disk(devices[role], at), role
    # That the slot is installed, in the history and in the metrics: the record was put in its place before.
    [*_, recorded] = traced.positions(r"rename\w*\(.*record\.json")
    for what in ('\\"event\\":\\"installed\\"', 'written_var=\\"true'):
        at = traced.told(what)
        assert recorded < at
        assert any(recorded < flush < at for flush in traced.positions(r"fsync\(\d+<[^>]*/state>")), what
        assert all(traced.positions(rf"(pwrite64|ioctl)\(\d+<{device}>")[-1] < recorded for device in devices.values())


def test_of_an_image_that_is_refused_nothing_is_told_as_written(node: LoopNode, tmp_path: Path):
    (tmp_path / "metrics").mkdir()
    node.config.write_text(node.config.read_text() + f'[metrics]\ndirectory = "{tmp_path}/metrics"\n')
    update = make_update(tmp_path / "update")
    node.fails("guestos", "upgrade-install", update, "--sha256", "0" * 64, status=65, code="IMAGE_SHA256")
    assert not (tmp_path / "metrics" / "guestos_boot_action.prom").exists()
