"""The machine itself, without a system on its disk: how it starts, fails and ends."""

import os
import signal
from pathlib import Path

import pytest

from qemu_harness.cache import Cache
from qemu_harness.disk import partition_disk
from qemu_harness.machine import MachineGone, VirtualMachine
from qemu_harness.process import HarnessError

pytestmark = pytest.mark.qemu


@pytest.fixture
def empty_disk(tmp_path: Path) -> Path:
    disk = tmp_path / "disk.img"
    partition_disk(disk)
    return disk


def test_end_of_qemu_is_noticed_at_once(cache: Cache, empty_disk: Path) -> None:
    with VirtualMachine(cache, empty_disk) as machine:
        os.kill(machine.pid, 15)
        with pytest.raises(MachineGone, match=r"(?s)terminating on signal 15.*serial log: .*serial\.log"):
            machine.wait_until_up()


def test_words_of_qemu_are_shown_when_it_does_not_start(cache: Cache, empty_disk: Path) -> None:
    machine = VirtualMachine(cache, empty_disk, extra_arguments=["-device", "no-such-device"])
    with pytest.raises(MachineGone, match="no-such-device"):
        machine.__enter__()


def test_nothing_is_left_behind(cache: Cache, empty_disk: Path) -> None:
    before = empty_disk.stat().st_mtime_ns
    with pytest.raises(KeyboardInterrupt), VirtualMachine(cache, empty_disk) as machine:
        pid, files = machine.pid, [Path(word.rpartition("=")[2]) for word in machine.command_line if "qcow2" in word]
        assert files[0].exists()
        raise KeyboardInterrupt
    assert not Path(f"/proc/{pid}").exists()
    assert not files[0].exists()
    assert machine.serial.path.exists()
    assert empty_disk.stat().st_mtime_ns == before


def test_a_machine_that_is_off_says_so(cache: Cache, empty_disk: Path) -> None:
    with VirtualMachine(cache, empty_disk) as machine:
        machine.kill()
        for action in (machine.reset, machine.wait_until_up):
            with pytest.raises(HarnessError, match="it is off"):
                action()


def test_a_silent_machine_shows_where_its_processors_stand(cache: Cache, empty_disk: Path) -> None:
    with (
        VirtualMachine(cache, empty_disk) as machine,
        pytest.raises(HarnessError, match=r"(?s)the machine: running\n.*RIP=[0-9a-f]{16}.*serial log: "),
    ):
        machine.wait_until_up(5)


def test_a_qemu_that_hangs_is_told_from_a_node_that_does(cache: Cache, empty_disk: Path) -> None:
    with VirtualMachine(cache, empty_disk) as machine:
        os.kill(machine.pid, signal.SIGSTOP)
        try:
            with pytest.raises(HarnessError, match="QEMU runs, and does not answer: no answer to query-status"):
                machine.wait_until_up(1)
        finally:
            os.kill(machine.pid, signal.SIGCONT)
