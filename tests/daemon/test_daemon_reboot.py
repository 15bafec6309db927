"""The daemon driven turn by turn, with a clock of its own: a reboot that does not come, and a trial that has to end."""

import time
from pathlib import Path

import pytest

from manageboot import config, errors
from manageboot.boot import record
from manageboot.boot.markers import Trial
from manageboot.boot.record import SlotRecord
from manageboot.daemon import jobs, localfs
from manageboot.daemon.policy import AGAIN_S, BUSY_S, LONG_S, PATIENCE_S, RETRY_S
from manageboot.protocol import Content, Slot
from manageboot.system import lock
from manageboot.upgrade import verbs
from support.daemonnode import DaemonNode, start, stepped, turn

pytestmark = pytest.mark.grub


def fail_to_write(*_arguments: object) -> None:
    raise errors.DeviceError("cannot write the block: Input/output error")


def refuse(*_arguments: object) -> None:
    raise errors.NotPermittedError("cannot write the block: Read-only file system")


def hang(*_arguments: object) -> None:
    time.sleep(1000)


@pytest.fixture
def pending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DaemonNode:
    return stepped(DaemonNode(tmp_path), monkeypatch)


def commit(node: DaemonNode) -> None:
    node.set_block(boot_alternative="B", boot_cycle="first_boot", mb_nonce="n2")


def test_it_is_told_and_left_alone(pending: DaemonNode):
    daemon = start(pending)
    turn(daemon, 10.0)
    commit(pending)
    for now_s in (100.0, 100.0 + PATIENCE_S - 1):
        turn(daemon, now_s)
    assert (pending.events(), "REBOOT_MISSING" in pending.problems()) == ([], False)
    for now_s in (100.0 + PATIENCE_S, 5000.0):
        turn(daemon, now_s)
    assert (pending.events(), "REBOOT_MISSING" in pending.problems()) == (["reboot_missing"], True)
    pending.manageboot("upgrade-cancel")
    turn(daemon, 6000.0)
    assert ("REBOOT_MISSING" in pending.problems(), pending.reboot_count()) == (False, 0)


def test_it_is_asked_for_again(pending: DaemonNode):
    pending.configure(boot="reboot_again = true")
    daemon = start(pending)
    turn(daemon, 10.0)
    commit(pending)
    turn(daemon, 100.0)
    # One that is restarted goes on counting.
    daemon = start(pending)
    turn(daemon, 100.0 + PATIENCE_S)
    assert pending.reboot_count() == 1
    daemon = start(pending)
    turn(daemon, 100.0 + PATIENCE_S + AGAIN_S - 1)
    assert pending.reboot_count() == 1
    turn(daemon, 100.0 + PATIENCE_S + AGAIN_S)
    assert pending.reboot_count() == 2


def test_a_commit_that_grub_did_not_try_is_no_reason_to_reboot(pending: DaemonNode):
    pending.configure(boot="reboot_again = true")
    commit(pending)
    pending.boot("A", "first_boot")
    daemon = start(pending)
    for now_s in (10.0, 1000.0, 1e6):
        turn(daemon, now_s)
    assert pending.reboot_count() == 0


def test_what_was_given_up_is_insisted_on(pending: DaemonNode):
    pending.configure(policy="external", deadline="900")
    pending.start_trial()
    daemon = start(pending)
    turn(daemon, 899.0)
    assert pending.reboot_count() == 0
    turn(daemon, 900.0)
    assert (pending.reboot_count(), pending.block()["mb_trial"]) == (1, "deadline")
    turn(start(pending), 900.0 + AGAIN_S)
    assert (pending.reboot_count(), pending.events()[-1]) == (2, "reboot_missing")


def test_a_block_that_can_not_be_written_is_no_way_out(pending: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    pending.configure(policy="external", deadline="900")
    pending.start_trial()
    monkeypatch.setattr("manageboot.boot.envblock.write", fail_to_write)
    daemon = start(pending)
    for now_s in (900.0, 910.0, 900.0 + AGAIN_S - 1):
        turn(daemon, now_s)
    assert pending.reboot_count() == 1
    assert pending.events().count("deadline") == 1
    assert pending.manageboot("next") == "A"
    turn(daemon, 900.0 + AGAIN_S)
    assert pending.reboot_count() == 2


def test_a_block_that_is_read_only_is_no_way_out(pending: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    pending.configure(policy="external", deadline="900")
    pending.start_trial()
    # As vfat with errors=remount-ro, which can't be flushed or written.
    monkeypatch.setattr("manageboot.boot.envblock.settle", refuse)
    daemon = start(pending)
    for now_s in (900.0, 900.0 + AGAIN_S):
        turn(daemon, now_s)
    assert pending.reboot_count() == 2
    # The history keeps what led there, however often it is tried.
    assert pending.events() == ["deadline"]


def test_one_that_grub_could_not_write_either_is_no_loop(pending: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    pending.configure(policy="external", deadline="900")
    pending.start_trial()
    pending.set_block(boot_cycle="first_boot")
    monkeypatch.setattr("manageboot.boot.envblock.settle", refuse)
    daemon = start(pending)
    for now_s in (900.0, 900.0 + RETRY_S, LONG_S - 1):
        turn(daemon, now_s)
    assert (pending.reboot_count(), "deadline" in pending.events()) == (0, False)
    # A file system that is read-only since an error often comes back with a reboot.
    turn(daemon, LONG_S + RETRY_S)
    assert pending.reboot_count() == 1


def start_another_trial(node: DaemonNode, cycle: str) -> None:
    """Boot slot B on trial with a script that is not the shipped one, which leaves what an earlier trial left."""
    node.set_block(boot_alternative="B", boot_cycle=cycle, mb_nonce="n0", mb_ack="n0", mb_trial="deadline")
    (node.directory / "cmdline").write_text("dfinity.system=B\n")


@pytest.mark.parametrize("cycle", ["failsafe_check", "first_boot"])
def test_what_an_earlier_trial_left_is_not_of_this_one(pending: DaemonNode, cycle: str):
    pending.configure(policy="external", deadline="900")
    start_another_trial(pending, cycle)
    daemon = start(pending)
    turn(daemon, 10.0)
    assert pending.block()["mb_trial"] == "userspace"
    assert "trial_started" in pending.events()
    for now_s in (10.0 + AGAIN_S, 10.0 + PATIENCE_S, 899.0):
        turn(daemon, now_s)
    assert ("reboot_missing" in pending.events(), pending.reboot_count()) == (False, 0)
    turn(daemon, 900.0)
    assert (pending.block()["mb_trial"], pending.reboot_count()) == ("deadline", 1)
    # What it left itself is of this boot, for the next daemon too.
    turn(start(pending), 900.0 + AGAIN_S)
    assert (pending.block()["mb_trial"], pending.reboot_count()) == ("deadline", 2)


def test_it_is_not_of_this_one_even_if_it_can_not_be_cleared(pending: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    pending.configure(policy="external", deadline="900")
    start_another_trial(pending, "failsafe_check")
    monkeypatch.setattr("manageboot.boot.envblock.settle", refuse)
    daemon = start(pending)
    for now_s in (10.0, 10.0 + PATIENCE_S, 899.0):
        turn(daemon, now_s)
    assert ("reboot_missing" in pending.events(), pending.reboot_count()) == (False, 0)
    turn(daemon, 900.0)
    assert ("deadline" in pending.events(), pending.reboot_count()) == (True, 1)


def test_a_trial_that_was_given_up_before_the_daemon_came_stays_so(pending: DaemonNode):
    pending.configure(policy="automatic", deadline="900")
    start_another_trial(pending, "failsafe_check")
    pending.manageboot("rollback", "--no-reboot")
    daemon = start(pending)
    for now_s in (10.0, 20.0, 10.0 + PATIENCE_S):
        turn(daemon, now_s)
    assert (pending.block()["mb_trial"], pending.block()["boot_cycle"]) == ("by_hand", "failsafe_check")
    assert pending.events()[-1] == "reboot_missing"


def test_somebody_holds_the_lock_for_ever(pending: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    pending.configure(policy="external", deadline="20")
    pending.start_trial()
    monkeypatch.setattr("manageboot.upgrade.verbs._ARRIVAL_WAIT_S", 0.0)
    with lock.held(str(pending.run_directory / "lock"), "confirm"):
        daemon = start(pending)
        for now_s in range(10, 10 + int(BUSY_S) + 60, 15):
            if now_s < 10 + BUSY_S:
                assert pending.reboot_count() == 0
            turn(daemon, float(now_s))
    assert pending.reboot_count() == 1


def test_a_lock_that_was_held_for_long_is_no_reason_to_reboot(pending: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("manageboot.upgrade.verbs._ARRIVAL_WAIT_S", 0.0)
    daemon = start(pending)
    with lock.held(str(pending.run_directory / "lock"), "upgrade-install"):
        for now_s in range(10, 10 + int(BUSY_S) + 60, 15):
            turn(daemon, float(now_s))
        assert not daemon._memory.arrived
    turn(daemon, 5000.0)
    assert daemon._memory.arrived
    assert (pending.reboot_count(), pending.events()) == (0, [])


@staticmethod
def lose_block(node: DaemonNode, how: str) -> None:
    """Leave zeros, as a power cut may; or nothing, as a tool that truncates; or no file beside GRUB's script."""
    node.grubenv.write_bytes({"zeros": b"\0" * 1024}.get(how, b""))
    if how == "gone":
        node.grubenv.unlink()


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("how", ["zeros", "empty", "gone"])
def test_a_block_that_is_lost_in_the_trial(pending: DaemonNode, restarted: bool, how: str):
    pending.configure(policy="external", deadline="900")
    pending.start_trial()
    daemon = start(pending)
    turn(daemon, 10.0)
    lose_block(pending, how)
    daemon = start(pending) if restarted else daemon
    turn(daemon, 899.0)
    assert pending.reboot_count() == 0
    turn(daemon, 900.0)
    assert pending.reboot_count() == 1


@pytest.mark.parametrize("how", ["empty", "gone"])
@pytest.mark.parametrize("slot", ["A", "B"])
def test_a_block_that_was_lost_before_the_daemon_came(pending: DaemonNode, how: str, slot: str):
    """Slot A is what GRUB assumes without one, so such a trial looks like a slot that is trusted."""
    pending.configure(policy="external", deadline="900")
    pending.start_trial()
    pending.boot(slot, "first_boot", try_="1")
    lose_block(pending, how)
    daemon = start(pending)
    turn(daemon, 10.0)
    assert "GRUB started a trial by it" in pending.status()["daemon"]["status"]
    assert pending.status()["daemon"]["deadline_s"] == 900.0
    turn(daemon, 899.0)
    assert pending.reboot_count() == 0
    turn(daemon, 900.0)
    assert pending.reboot_count() == 1


@pytest.mark.parametrize("how", ["empty", "gone"])
def test_a_block_that_is_lost_where_there_is_no_trial(pending: DaemonNode, how: str):
    pending.configure(policy="external", deadline="900")
    lose_block(pending, how)
    daemon = start(pending)
    for now_s in (10.0, 900.0, 1e6):
        turn(daemon, now_s)
    assert (pending.reboot_count(), pending.status()["daemon"]["status"]) == (0, "slot A is booted and trusted")


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("how", ["zeros", "empty", "gone"])
def test_a_block_that_is_lost_after_the_confirm_is_no_reason_to_reboot(pending: DaemonNode, seen: bool, how: str):
    pending.configure(policy="external", deadline="900")
    pending.start_trial()
    daemon = start(pending)
    turn(daemon, 10.0)
    pending.manageboot("confirm")
    if seen:
        turn(daemon, 20.0)
    lose_block(pending, how)
    for now_s in (900.0, 1000.0, 1e6):
        turn(daemon, now_s)
    assert pending.reboot_count() == 0


def test_the_last_look_is_right_before_the_reboot(pending: DaemonNode):
    settings = config.load(str(pending.config))
    reboot = jobs.guarded(jobs.reboot(flush=False, tried=False), settings)
    assert (reboot(), pending.reboot_count()) == (0, 0)
    pending.start_trial()
    pending.manageboot("confirm", "--hold")
    assert (reboot(), pending.reboot_count()) == (0, 0)
    pending.manageboot("confirm", "--release")
    assert (reboot(), pending.reboot_count()) == (0, 1)


def test_a_disk_that_hangs_does_not_stop_the_reboot(pending: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    pending.start_trial()
    monkeypatch.setattr("manageboot.daemon.jobs._FLUSH_S", 0.2)
    monkeypatch.setattr("manageboot.daemon.jobs._LOOK_S", 0.2)
    monkeypatch.setattr("os.sync", hang)
    monkeypatch.setattr("manageboot.daemon.jobs.observe", hang)
    settings = config.load(str(pending.config))
    assert jobs.guarded(jobs.reboot(flush=True, tried=False), settings)() == 0
    assert pending.reboot_count() == 1


def test_a_trial_that_is_confirmed_in_the_last_moment_stays(pending: DaemonNode):
    pending.start_trial()
    settings = config.load(str(pending.config))
    assert verbs.confirm(settings) == "slot B is confirmed"
    assert jobs.guarded(jobs.give_up(Trial.DEADLINE, "late"), settings)() == 0
    assert (pending.manageboot("next"), pending.reboot_count()) == ("B", 0)
    assert "deadline" not in pending.events()


@pytest.mark.parametrize("comes", [True, False])
def test_what_the_records_tell_waits_for_the_file_systems(pending: DaemonNode, comes: bool):
    pending.set_unit("local-fs.target", "inactive 17")
    pending.set_block(mb_fallback="unconfirmed", mb_trial="deadline")
    pending.boot("A", "failsafe_check")
    daemon = start(pending)
    for now_s in (10.0, 20.0, localfs.PATIENCE_S - 4):
        turn(daemon, now_s)
    assert (pending.events(), daemon._memory.arrived) == ([], True)
    if comes:
        pending.set_unit("local-fs.target", "active")
        turn(daemon, localfs.PATIENCE_S - 1)
    else:
        turn(daemon, localfs.PATIENCE_S)
    assert pending.events() == ["fallback"]


def test_the_deadline_waits_for_no_file_system(pending: DaemonNode):
    pending.configure(policy="external", deadline="60")
    pending.set_unit("local-fs.target", "inactive 17")
    pending.start_trial()
    daemon = start(pending)
    turn(daemon, 10.0)
    assert (pending.events(), pending.block()["mb_trial"]) == (["trial_started"], "userspace")
    turn(daemon, 60.0)
    assert (pending.reboot_count(), pending.block()["mb_trial"]) == (1, "deadline")
    assert pending.events() == ["trial_started", "rolled_back", "deadline"]


@pytest.mark.parametrize("policy", ["external", "automatic"])
def test_a_confirm_that_was_cut_short_is_completed(pending: DaemonNode, policy: str):
    pending.configure(policy=policy)
    state = str(pending.directory / "state")
    record.store(state, {Slot.B: SlotRecord(Content.COMMITTED, version="2", nonce="n1")})
    pending.set_block(boot_alternative="B", boot_cycle="stable", mb_ack="n1")
    pending.boot("B", "stable")
    daemon = start(pending)
    for now_s in (10.0, 20.0):
        turn(daemon, now_s)
    found = record.load(state)
    assert [found[slot].content for slot in Slot] == [Content.CONFIRMED, Content.CONFIRMED]
    assert pending.events() == ["confirmed"]


def test_devices_that_are_not_there_are_told_after_a_while(pending: DaemonNode):
    (pending.run_directory / "daemon.json").unlink()
    daemon = start(pending)
    turn(daemon, 10.0)
    assert pending.problems() == []
    turn(daemon, 20.0)
    assert pending.problems() == ["DEVICE_LOST"] * 4
    assert pending.events() == ["device_lost"] * 4
    turn(daemon, 1000.0)
    assert pending.events() == ["device_lost"] * 4
