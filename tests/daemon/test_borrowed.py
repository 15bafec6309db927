"""The daemon in a machine that runs from the disk of another one, as in an upgrade of an encrypted guest."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from manageboot import config
from manageboot.daemon import borrowed
from manageboot.daemon.policy import OVERDUE_AFTER_S
from support.daemonnode import PATIENCE_S, DaemonNode, start, stepped, turn

pytestmark = pytest.mark.grub


class SecondMachine:
    """Slot B, which no commit has named yet, started by the host and without GRUB, on the disk of the node."""

    def __init__(self, node: DaemonNode) -> None:
        self.node = node
        self.marks = node.directory / "guest_vm_type"
        self.configure("automatic")
        (node.directory / "metrics").mkdir()
        (node.directory / "cmdline").write_text("root=/dev/vda8 console=ttyS0 dfinity.system=B initrd=initrd\n")
        self._disk = self._of_the_disk()

    def configure(self, policy: str) -> None:
        """Say who confirms."""
        self.node.configure(boot=f'owner_file = "{self.marks}/default"', deadline="1min", policy=policy)

    def say(self, machine: str) -> None:
        """Say which machine it is, as IC-OS does."""
        self.marks.mkdir()
        (self.marks / machine).touch()

    def touched(self) -> bool:
        """Say whether the disk is another than at first: block, history and records; or metrics tell anything."""
        return self._of_the_disk() != self._disk or any((self.node.directory / "metrics").iterdir())

    def _of_the_disk(self) -> dict[str, tuple[int, bytes]]:
        places = [self.node.grubenv.parent, self.node.directory / "state"]
        files = [path for place in places for path in place.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SecondMachine:
    return SecondMachine(stepped(DaemonNode(tmp_path), monkeypatch))


LONG = [1.0, 5.0, 60.0, borrowed.WAIT_S - 1, borrowed.WAIT_S + 1, borrowed.WAIT_S + OVERDUE_AFTER_S + 100]
BLOCKS = [
    {},
    {"boot_cycle": "install"},
    {"boot_cycle": "first_boot"},
    {"boot_cycle": "failsafe_check"},
    {"mb_fallback": "unconfirmed", "mb_nonce": "n1", "mb_ack": "n1"},
    None,
]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("said_s", [0.0, 60.0])
def test_nothing_at_all_is_done(machine: SecondMachine, block: dict[str, str] | None, said_s: float):
    if block is None:
        machine.node.lose_block("damaged")
    else:
        machine.node.set_block(**block)
    machine._disk = machine._of_the_disk()
    daemon = start(machine.node)
    for now_s in LONG:
        if now_s > said_s and not machine.marks.exists():
            machine.say("upgrade")
        turn(daemon, now_s)
        assert not machine.touched(), now_s
    assert machine.node.asked() == []


def test_status_and_doctor_tell_why(machine: SecondMachine):
    machine.say("upgrade")
    status = machine.node.status()
    assert (status["ownership"], status["loader"], status["problems"]) == ("borrowed", "other", [])
    assert status["explanation"] == "this machine runs from the disk of another one, and changes nothing there"
    assert "CONFLICT" not in machine.node.run("doctor").stdout


@pytest.mark.parametrize("verb", ["upgrade-install", "upgrade-commit", "upgrade-cancel", "rollback"])
def test_no_verb_touches_the_disk(machine: SecondMachine, verb: str):
    machine.say("upgrade")
    line = machine.node.fails(verb, *(["image"] if verb == "upgrade-install" else []), status=69, code="CONFLICT")
    assert f"cannot {verb}: another machine owns the disk that this one runs from" in line
    assert not machine.touched()


def test_the_machine_that_owns_the_disk_is_watched(machine: SecondMachine):
    machine.say("default")
    turn(start(machine.node), 1.0, 60.0)
    assert machine.touched()


def test_a_node_that_says_nothing_is_watched_in_the_end(machine: SecondMachine):
    """Older versions of IC-OS have no such file."""
    daemon = start(machine.node)
    turn(daemon, borrowed.WAIT_S - 1)
    assert not machine.touched()
    turn(daemon, borrowed.WAIT_S + 1)
    assert machine.touched()


@pytest.mark.parametrize("line", ["dfinity.system=A", "BOOT_IMAGE=/vmlinuz dfinity.system=B"])
def test_what_can_be_no_such_machine_is_watched_at_once(machine: SecondMachine, line: str):
    """It runs the slot of the block, or GRUB started it."""
    (machine.node.directory / "cmdline").write_text(f"{line}\n")
    turn(start(machine.node), 1.0)
    assert machine.touched()


def test_a_guest_of_ic_os_is_asked_which_machine_it_is():
    assert config.load("/dev/null", profile="guestos").boot.owner_file == "/run/config/guest_vm_type/default"
    assert config.load("/dev/null", profile="hostos").boot.owner_file is None


def test_a_trial_whose_block_is_lost_ends_in_time(machine: SecondMachine):
    """It was known not to be that machine, and a look that fails later does not make it one."""
    machine.configure("external")
    machine.node.start_trial_by_another_script()
    daemon = start(machine.node)
    turn(daemon, 5.0)
    machine.node.lose_block("damaged")
    turn(daemon, 10.0, 59.0)
    assert machine.node.asked() == []
    turn(daemon, 61.0)
    assert machine.node.asked() == ["reboot"]


def test_what_was_begun_is_stopped_once_the_disk_is_known_to_be_borrowed(machine: SecondMachine):
    started = machine.node.directory / "started"
    machine.node.add_check("required/slow", f"echo $$ >{started}; exec sleep 1000")
    machine.node.start_trial_by_another_script()
    daemon = start(machine.node)
    wait_for(lambda: daemon._turn(5.0) and started.exists() and started.read_text())
    machine.say("upgrade")
    check = Path("/proc", started.read_text().strip())
    # A job that is on its way ends first.
    wait_for(lambda: daemon._turn(6.0) and not check.exists())


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
