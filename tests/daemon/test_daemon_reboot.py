"""The daemon driven turn by turn, with a clock of its own: a reboot that does not come, and a trial that has to end."""

import time
from pathlib import Path

import pytest

from manageboot import config, errors
from manageboot.boot import record
from manageboot.boot.markers import TrialMarker
from manageboot.boot.record import SlotRecord
from manageboot.daemon import jobs, localfs
from manageboot.daemon.memory import AGAIN_S
from manageboot.daemon.policy import LONG_S, OVERDUE_AFTER_S, RETRY_S
from manageboot.daemon.tasks import BUSY_S
from manageboot.protocol import Content, Slot
from manageboot.system import lock
from manageboot.upgrade import verbs
from support.daemonnode import DaemonNode, start, stepped, turn

pytestmark = pytest.mark.grub

LEFT = {"mb_nonce": "n0", "mb_ack": "n0", "mb_trial": "deadline"}
"""What an earlier trial left in the block, which was aborted."""


def fail_to_write(*_arguments: object) -> None:
    raise errors.DeviceError("cannot write the block: Input/output error")


def refuse(*_arguments: object) -> None:
    raise errors.NotPermittedError("cannot write the block: Read-only file system")


def hang(*_arguments: object) -> None:
    time.sleep(1000)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DaemonNode:
    return stepped(DaemonNode(tmp_path), monkeypatch)


def test_it_is_told_and_left_alone(node: DaemonNode):
    daemon = start(node)
    turn(daemon, 10.0)
    node.commit()
    for now_s in (100.0, 100.0 + OVERDUE_AFTER_S - 1):
        turn(daemon, now_s)
    assert (node.events(), "REBOOT_MISSING" in node.problems()) == ([], False)
    for now_s in (100.0 + OVERDUE_AFTER_S, 5000.0):
        turn(daemon, now_s)
    assert (node.events(), "REBOOT_MISSING" in node.problems()) == (["reboot_missing"], True)
    node.manageboot("upgrade-cancel")
    turn(daemon, 6000.0)
    assert ("REBOOT_MISSING" in node.problems(), node.reboot_count()) == (False, 0)


def test_it_is_asked_for_again(node: DaemonNode):
    node.configure(boot="reboot_again = true")
    daemon = start(node)
    turn(daemon, 10.0)
    node.commit()
    turn(daemon, 100.0)
    # One that is restarted goes on counting.
    daemon = start(node)
    turn(daemon, 100.0 + OVERDUE_AFTER_S)
    assert node.reboot_count() == 1
    daemon = start(node)
    turn(daemon, 100.0 + OVERDUE_AFTER_S + AGAIN_S - 1)
    assert node.reboot_count() == 1
    turn(daemon, 100.0 + OVERDUE_AFTER_S + AGAIN_S)
    assert node.reboot_count() == 2


def test_a_commit_that_grub_did_not_try_is_no_reason_to_reboot(node: DaemonNode):
    node.configure(boot="reboot_again = true")
    node.commit()
    node.boot("A", "first_boot")
    daemon = start(node)
    for now_s in (10.0, 1000.0, 1e6):
        turn(daemon, now_s)
    assert node.reboot_count() == 0


def test_what_was_aborted_is_insisted_on(node: DaemonNode):
    node.configure(policy="external", deadline="900")
    node.start_trial()
    daemon = start(node)
    turn(daemon, 899.0)
    assert node.reboot_count() == 0
    turn(daemon, 900.0)
    assert (node.reboot_count(), node.block()["mb_trial"]) == (1, "deadline")
    turn(start(node), 900.0 + AGAIN_S)
    assert (node.reboot_count(), node.events()[-1]) == (2, "reboot_missing")


def test_a_block_that_can_not_be_written_is_no_way_out(node: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    node.configure(policy="external", deadline="900")
    node.start_trial()
    monkeypatch.setattr("manageboot.boot.envblock.write", fail_to_write)
    daemon = start(node)
    for now_s in (900.0, 910.0, 900.0 + AGAIN_S - 1):
        turn(daemon, now_s)
    assert node.reboot_count() == 1
    assert node.events().count("deadline") == 1
    assert node.manageboot("next") == "A"
    turn(daemon, 900.0 + AGAIN_S)
    assert node.reboot_count() == 2


def test_a_block_that_is_read_only_is_no_way_out(node: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    node.configure(policy="external", deadline="900")
    node.start_trial()
    # As vfat with errors=remount-ro, which can't be flushed or written.
    monkeypatch.setattr("manageboot.boot.envblock.settle", refuse)
    daemon = start(node)
    for now_s in (900.0, 900.0 + AGAIN_S):
        turn(daemon, now_s)
    assert node.reboot_count() == 2
    # The history keeps what led there, however often it is tried.
    assert node.events() == ["deadline"]


def test_one_that_grub_could_not_write_either_is_no_loop(node: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    node.configure(policy="external", deadline="900")
    node.start_trial()
    node.set_block(boot_cycle="first_boot")
    monkeypatch.setattr("manageboot.boot.envblock.settle", refuse)
    daemon = start(node)
    for now_s in (900.0, 900.0 + RETRY_S, LONG_S - 1):
        turn(daemon, now_s)
    assert (node.reboot_count(), "deadline" in node.events()) == (0, False)
    # A file system that is read-only since an error often comes back with a reboot.
    turn(daemon, LONG_S + RETRY_S)
    assert node.reboot_count() == 1


@pytest.mark.parametrize("cycle", ["failsafe_check", "first_boot"])
def test_what_an_earlier_trial_left_is_not_of_this_one(node: DaemonNode, cycle: str):
    node.configure(policy="external", deadline="900")
    node.start_trial_by_another_script(boot_cycle=cycle, **LEFT)
    daemon = start(node)
    turn(daemon, 10.0)
    assert node.block()["mb_trial"] == "userspace"
    assert "trial_started" in node.events()
    for now_s in (10.0 + AGAIN_S, 10.0 + OVERDUE_AFTER_S, 899.0):
        turn(daemon, now_s)
    assert ("reboot_missing" in node.events(), node.reboot_count()) == (False, 0)
    turn(daemon, 900.0)
    assert (node.block()["mb_trial"], node.reboot_count()) == ("deadline", 1)
    # What it left itself is of this boot, for the next daemon too.
    turn(start(node), 900.0 + AGAIN_S)
    assert (node.block()["mb_trial"], node.reboot_count()) == ("deadline", 2)


def test_it_is_not_of_this_one_even_if_it_can_not_be_cleared(node: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    node.configure(policy="external", deadline="900")
    node.start_trial_by_another_script(**LEFT)
    monkeypatch.setattr("manageboot.boot.envblock.settle", refuse)
    daemon = start(node)
    for now_s in (10.0, 10.0 + OVERDUE_AFTER_S, 899.0):
        turn(daemon, now_s)
    assert ("reboot_missing" in node.events(), node.reboot_count()) == (False, 0)
    turn(daemon, 900.0)
    assert ("deadline" in node.events(), node.reboot_count()) == (True, 1)


def test_a_trial_that_was_aborted_before_the_daemon_came_stays_so(node: DaemonNode):
    node.configure(policy="automatic", deadline="900")
    node.start_trial_by_another_script(**LEFT)
    node.manageboot("rollback", "--no-reboot")
    daemon = start(node)
    for now_s in (10.0, 20.0, 10.0 + OVERDUE_AFTER_S):
        turn(daemon, now_s)
    assert (node.block()["mb_trial"], node.block()["boot_cycle"]) == ("by_hand", "failsafe_check")
    assert node.events()[-1] == "reboot_missing"


def test_somebody_holds_the_lock_for_ever(node: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    node.configure(policy="external", deadline="20")
    node.start_trial()
    monkeypatch.setattr("manageboot.upgrade.verbs._ARRIVAL_WAIT_S", 0.0)
    with lock.held(str(node.run_directory / "lock"), "confirm"):
        daemon = start(node)
        for now_s in range(10, 10 + int(BUSY_S) + 60, 15):
            if now_s < 10 + BUSY_S:
                assert node.reboot_count() == 0
            turn(daemon, float(now_s))
    assert node.reboot_count() == 1


def test_a_lock_that_was_held_for_long_is_no_reason_to_reboot(node: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("manageboot.upgrade.verbs._ARRIVAL_WAIT_S", 0.0)
    daemon = start(node)
    with lock.held(str(node.run_directory / "lock"), "upgrade-install"):
        for now_s in range(10, 10 + int(BUSY_S) + 60, 15):
            turn(daemon, float(now_s))
        assert not node.remembered()["arrived"]
    turn(daemon, 5000.0)
    assert node.remembered()["arrived"]
    assert (node.reboot_count(), node.events()) == (0, [])


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("how", ["zeros", "empty", "gone"])
def test_a_block_that_is_lost_in_the_trial(node: DaemonNode, restarted: bool, how: str):
    node.configure(policy="external", deadline="900")
    node.start_trial()
    daemon = start(node)
    turn(daemon, 10.0)
    node.lose_block(how)
    daemon = start(node) if restarted else daemon
    turn(daemon, 899.0)
    assert node.reboot_count() == 0
    turn(daemon, 900.0)
    assert node.reboot_count() == 1


@pytest.mark.parametrize("how", ["empty", "gone"])
@pytest.mark.parametrize("slot", ["A", "B"])
def test_a_block_that_was_lost_before_the_daemon_came(node: DaemonNode, how: str, slot: str):
    """Slot A is what GRUB assumes without one, so such a trial looks like a slot that is trusted."""
    node.configure(policy="external", deadline="900")
    node.start_trial()
    node.boot(slot, "first_boot", try_="1")
    node.lose_block(how)
    daemon = start(node)
    turn(daemon, 10.0)
    assert "GRUB started a trial by it" in node.status()["daemon"]["status"]
    assert node.status()["daemon"]["deadline_s"] == 900.0
    turn(daemon, 899.0)
    assert node.reboot_count() == 0
    turn(daemon, 900.0)
    assert node.reboot_count() == 1


@pytest.mark.parametrize("how", ["empty", "gone"])
def test_a_block_that_is_lost_where_there_is_no_trial(node: DaemonNode, how: str):
    node.configure(policy="external", deadline="900")
    node.lose_block(how)
    daemon = start(node)
    for now_s in (10.0, 900.0, 1e6):
        turn(daemon, now_s)
    assert (node.reboot_count(), node.status()["daemon"]["status"]) == (0, "slot A is booted and trusted")


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("how", ["zeros", "empty", "gone"])
def test_a_block_that_is_lost_after_the_confirm_is_no_reason_to_reboot(node: DaemonNode, seen: bool, how: str):
    node.configure(policy="external", deadline="900")
    node.start_trial()
    daemon = start(node)
    turn(daemon, 10.0)
    node.manageboot("confirm")
    if seen:
        turn(daemon, 20.0)
    node.lose_block(how)
    for now_s in (900.0, 1000.0, 1e6):
        turn(daemon, now_s)
    assert node.reboot_count() == 0


def test_the_last_look_is_right_before_the_reboot(node: DaemonNode):
    settings = config.load(str(node.config))
    reboot = jobs.guarded(jobs.reboot(flush=False, tried=False), settings)
    assert (reboot(), node.reboot_count()) == (0, 0)
    node.start_trial()
    node.manageboot("confirm", "--hold")
    assert (reboot(), node.reboot_count()) == (0, 0)
    node.manageboot("confirm", "--release")
    assert (reboot(), node.reboot_count()) == (0, 1)


def test_a_disk_that_hangs_does_not_stop_the_reboot(node: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    node.start_trial()
    monkeypatch.setattr("manageboot.daemon.jobs._FLUSH_S", 0.2)
    monkeypatch.setattr("manageboot.daemon.jobs._LOOK_S", 0.2)
    monkeypatch.setattr("os.sync", hang)
    monkeypatch.setattr("manageboot.daemon.jobs.observe", hang)
    settings = config.load(str(node.config))
    assert jobs.guarded(jobs.reboot(flush=True, tried=False), settings)() == 0
    assert node.reboot_count() == 1


def test_a_trial_that_is_confirmed_in_the_last_moment_stays(node: DaemonNode):
    node.start_trial()
    settings = config.load(str(node.config))
    assert verbs.confirm(settings) == "slot B is confirmed"
    assert jobs.guarded(jobs.abort_trial(TrialMarker.DEADLINE, "late"), settings)() == 0
    assert (node.manageboot("next"), node.reboot_count()) == ("B", 0)
    assert "deadline" not in node.events()


@pytest.mark.parametrize("comes", [True, False])
def test_what_the_records_tell_waits_for_the_file_systems(node: DaemonNode, comes: bool):
    node.set_unit("local-fs.target", "inactive 17")
    node.set_block(mb_fallback="unconfirmed", mb_trial="deadline")
    node.boot("A", "failsafe_check")
    daemon = start(node)
    for now_s in (10.0, 20.0, localfs.ASSUMED_AFTER_S - 4):
        turn(daemon, now_s)
    assert (node.events(), node.remembered()["arrived"]) == ([], True)
    if comes:
        node.set_unit("local-fs.target", "active")
        turn(daemon, localfs.ASSUMED_AFTER_S - 1)
    else:
        turn(daemon, localfs.ASSUMED_AFTER_S)
    assert node.events() == ["fallback"]


def test_the_deadline_waits_for_no_file_system(node: DaemonNode):
    node.configure(policy="external", deadline="60")
    node.set_unit("local-fs.target", "inactive 17")
    node.start_trial()
    daemon = start(node)
    turn(daemon, 10.0)
    assert (node.events(), node.block()["mb_trial"]) == (["trial_started"], "userspace")
    turn(daemon, 60.0)
    assert (node.reboot_count(), node.block()["mb_trial"]) == (1, "deadline")
    assert node.events() == ["trial_started", "rolled_back", "deadline"]


@pytest.mark.parametrize("policy", ["external", "automatic"])
def test_a_confirm_that_was_cut_short_is_completed(node: DaemonNode, policy: str):
    node.configure(policy=policy)
    state = str(node.directory / "state")
    record.store(state, {Slot.B: SlotRecord(Content.COMMITTED, version="2", nonce="n1")})
    node.set_block(boot_alternative="B", boot_cycle="stable", mb_ack="n1")
    node.boot("B", "stable")
    daemon = start(node)
    for now_s in (10.0, 20.0):
        turn(daemon, now_s)
    found = record.load(state)
    assert [found[slot].content for slot in Slot] == [Content.CONFIRMED, Content.CONFIRMED]
    assert node.events() == ["confirmed"]


def test_devices_that_are_not_there_are_told_after_a_while(node: DaemonNode):
    (node.run_directory / "daemon.json").unlink()
    daemon = start(node)
    turn(daemon, 10.0)
    assert node.problems() == []
    turn(daemon, 20.0)
    assert node.problems() == ["DEVICE_LOST"] * 4
    assert node.events() == ["device_lost"] * 4
    turn(daemon, 1000.0)
    assert node.events() == ["device_lost"] * 4
