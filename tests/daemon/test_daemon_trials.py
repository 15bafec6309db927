"""Trials that do not go by the book: who may call one good, and who aborted which one. Turn by turn."""

import logging
import os
import select
import signal
import sys
from pathlib import Path

import pytest

from manageboot import config
from manageboot.boot import record
from manageboot.boot.markers import TrialMarker
from manageboot.boot.record import SlotRecord
from manageboot.daemon import jobs
from manageboot.daemon.jobrunner import JobRunner
from manageboot.daemon.observation import FileSystems
from manageboot.daemon.policy import Decision
from manageboot.daemon.tasks import BUSY_S, REBOOTING, JobResult, Task
from manageboot.protocol import Content, Slot
from manageboot.system import lock
from manageboot.upgrade import abort, verbs
from support.daemonnode import DaemonNode, running, start, stepped, turn

pytestmark = pytest.mark.grub


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DaemonNode:
    return stepped(DaemonNode(tmp_path), monkeypatch)


@pytest.mark.parametrize("shipped", [True, False])
def test_a_block_that_is_empty_trusts_no_slot(node: DaemonNode, shipped: bool):
    """It would say slot A, stable; and slot A is on trial."""
    state = str(node.directory / "state")
    node.configure(policy="external", deadline="900")
    record.store(state, {Slot.A: SlotRecord(Content.COMMITTED, version="2", nonce="n1")})
    node.set_block(boot_alternative="A", boot_cycle="failsafe_check", mb_nonce="n1", mb_ack="n1", mb_tried="1")
    if shipped:
        node.boot("A", "first_boot", try_="1")
    else:
        (node.directory / "cmdline").write_text("dfinity.system=A\n")
    node.set_unit("local-fs.target", "activating 3")
    daemon = start(node)
    turn(daemon, 10.0)
    node.grubenv.write_bytes(b"")
    node.set_unit("local-fs.target", "active")
    turn(daemon, 30.0, 40.0)
    assert record.load(state)[Slot.A].content is Content.COMMITTED
    assert "confirmed" not in node.events()


@pytest.mark.parametrize("library", ["sh", "construct", "pyudev"])
def test_a_trial_ends_though_its_system_lacks_a_library(tmp_path: Path, library: str):
    node = DaemonNode(tmp_path)
    node.configure(policy="external", deadline="1")
    node.start_trial()
    (tmp_path / "lacks").mkdir()
    (tmp_path / "lacks" / f"{library}.py").write_text("raise ImportError('made up')\n")
    with running(node, PYTHONPATH=str(tmp_path / "lacks")) as daemon:
        daemon.wait_for(node.reboot_count, "the reboot")
        daemon.stop()
    assert node.reboots.read_text() == "reboot\n"


def test_a_job_waits_no_longer_for_the_lock_than_it_has_time(node: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    """However long a verb would: it would be killed, and count as hung, and what it was sent for as done."""
    monkeypatch.setattr(verbs, "_ARRIVAL_WAIT_S", 0.1)
    node.configure(state='lock_timeout = "1h"')
    settings = config.load(str(node.config))
    runner = JobRunner(settings, ())
    with lock.held(settings.state.lock, "upgrade-install"):
        runner.send(Task.ARRIVE, jobs.arrive, 0.0)
        ready = select.select(runner.descriptors, [], [], 30)[0]
        runner.kill()
        assert ready
        assert runner.advance(1.0, in_trial=False) == (Task.ARRIVE, JobResult.LOCKED)
        assert (runner.running, runner.jobs.failed_s) == (False, 1.0)
    runner.send(Task.ARRIVE, jobs.arrive, 2.0)
    assert select.select(runner.descriptors, [], [], 30)[0]
    assert runner.advance(3.0, in_trial=False) == (Task.ARRIVE, JobResult.DONE)
    assert not runner.jobs.hung


def kill(*_arguments: object, **_more: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop(*_arguments: object, **_more: object) -> None:
    raise KeyboardInterrupt


def stays_aborted(node: DaemonNode) -> bool:
    return (node.block()["mb_trial"], node.block()["boot_cycle"]) == ("by_hand", "failsafe_check")


def test_what_somebody_gave_up_stays_so_though_the_arrival_failed(node: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    node.start_trial_by_another_script(mb_trial="deadline")
    node.set_unit("boot-complete.target", "activating 3")
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "arrive", kill)
        daemon = start(node)
        turn(daemon, 10.0)
    node.manageboot("rollback", "--no-reboot")
    node.set_unit("boot-complete.target", "active")
    turn(daemon, 20.0, 30.0, 40.0, 50.0)
    assert stays_aborted(node)


def test_it_stays_so_without_the_history(node: DaemonNode):
    node.start_trial_by_another_script()
    # Nobody can write it.
    (node.grubenv.parent / "manageboot.log").mkdir()
    node.manageboot("rollback", "--no-reboot")
    turn(start(node), 10.0, 20.0, 30.0)
    assert stays_aborted(node)


def test_it_stays_so_if_the_rollback_was_killed_after_its_write(node: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    node.start_trial_by_another_script()
    node.configure(policy="external")
    turn(start(node), 10.0)
    assert node.block()["mb_trial"] == "userspace"
    with monkeypatch.context() as patch:
        patch.setattr(verbs, "_announce", stop)
        with pytest.raises(KeyboardInterrupt):
            verbs.rollback(config.load(str(node.config)), reboot=False)
    assert "rolled_back" not in node.events()
    # The next daemon remembers nothing.
    (node.run_directory / "daemon.json").unlink()
    node.configure(policy="automatic")
    turn(start(node), 20.0, 30.0, 40.0)
    assert stays_aborted(node)


@pytest.mark.parametrize("lost", ["history", "mark"])
def test_the_confirm_asks_both_witnesses_itself(node: DaemonNode, lost: str):
    node.start_trial_by_another_script()
    node.manageboot("rollback", "--no-reboot")
    (node.run_directory / "given-up" if lost == "mark" else node.grubenv.parent / "manageboot.log").unlink()
    settings = config.load(str(node.config))
    assert jobs.guarded(jobs.confirm, settings)() == 69
    assert stays_aborted(node)
    # By hand it comes too late as well.
    assert "was aborted, slot A boots next" in verbs.confirm(settings)
    assert stays_aborted(node)


def test_a_mark_of_another_boot_or_trial_tells_nothing(node: DaemonNode):
    node.start_trial_by_another_script(mb_trial=TrialMarker.DEADLINE)
    for text in ("b3f6 deadline\n", f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} by_hand\n", ""):
        (node.run_directory / "given-up").write_text(text)
        assert verbs.arrive(config.load(str(node.config))) == "slot B is up, on trial"
        assert node.block()["mb_trial"] == "userspace"
        node.set_block(mb_trial=TrialMarker.DEADLINE)


def test_a_mark_keeps_every_word_of_its_boot(node: DaemonNode):
    """Of two runs that gave it up the second one was killed before the block, which has the word of the first."""
    node.start_trial_by_another_script(mb_trial=TrialMarker.DEADLINE)
    settings = config.load(str(node.config))
    abort.mark(settings, TrialMarker.DEADLINE)
    abort.mark(settings, TrialMarker.BY_HAND)
    assert verbs.arrive(settings) == "slot B is up"
    assert node.block()["mb_trial"] == "deadline"


def test_a_slot_that_was_aborted_and_is_chosen_from_the_menu_is_confirmed_by_hand(node: DaemonNode):
    node.set_block(boot_alternative="B", boot_cycle="failsafe_check", mb_nonce="n1", mb_ack="n1", mb_trial="unhealthy")
    words = "manageboot.slot=B manageboot.cycle=failsafe_check manageboot.fault=menu"
    (node.directory / "cmdline").write_text(f"dfinity.system=B {words}\n")
    turn(start(node), 10.0, 20.0, 30.0)
    assert (node.block()["boot_cycle"], node.block()["mb_trial"]) == ("failsafe_check", "unhealthy")
    node.manageboot("confirm")
    assert node.block()["boot_cycle"] == "stable"


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("slot", ["A", "B"])
@pytest.mark.parametrize("how", ["damaged", "empty", "gone"])
def test_a_lost_block_ends_no_deadline_whoever_booted_the_node(node: DaemonNode, how: str, slot: str, restarted: bool):
    node.configure(policy="external", deadline="900")
    node.start_trial_by_another_script(slot)
    daemon = start(node)
    turn(daemon, 10.0)
    node.lose_block(how)
    daemon = start(node) if restarted else daemon
    turn(daemon, 20.0, 899.0)
    assert node.reboot_count() == 0
    assert node.status()["daemon"]["deadline_s"] == 900.0
    turn(daemon, 900.0)
    assert node.reboot_count() == 1


@pytest.mark.parametrize("slot", ["A", "B"])
def test_a_block_that_is_empty_for_a_moment_ends_no_health_checks(node: DaemonNode, slot: str):
    """GRUB's own tool truncates the block before it writes it anew."""
    node.start_trial_by_another_script(slot)
    node.set_unit("boot-complete.target", "activating 3")
    daemon = start(node)
    turn(daemon, 10.0)
    content = node.grubenv.read_bytes()
    node.grubenv.write_bytes(b"")
    turn(daemon, 12.0)
    node.grubenv.write_bytes(content)
    node.set_unit("boot-complete.target", "active")
    turn(daemon, 20.0, 30.0)
    assert (node.block()["boot_cycle"], node.events()[-1]) == ("stable", "confirmed")


def test_checks_that_were_stopped_begin_anew_with_the_trial(node: DaemonNode):
    node.start_trial_by_another_script()
    node.set_unit("boot-complete.target", "activating 3")
    daemon = start(node)
    turn(daemon, 10.0)
    node.set_block(boot_cycle="stable")
    turn(daemon, 20.0)
    node.set_block(boot_cycle="failsafe_check")
    node.set_unit("boot-complete.target", "active")
    turn(daemon, 30.0, 40.0)
    assert (node.block()["boot_cycle"], node.events()[-1]) == ("stable", "confirmed")


@pytest.mark.parametrize("how", ["damaged", "empty", "gone"])
@pytest.mark.parametrize("shipped", [True, False])
def test_a_block_that_is_lost_right_after_the_confirm_is_asked_about_once(
    node: DaemonNode, caplog: pytest.LogCaptureFixture, how: str, shipped: bool
):
    node.configure(policy="external", deadline="900")
    node.start_trial_by_another_script()
    if shipped:
        node.start_trial()
    daemon = start(node)
    turn(daemon, 10.0)
    node.manageboot("confirm")
    node.lose_block(how)
    turn(daemon, 20.0, 901.0, 962.0, 1023.0)
    turn(start(node), 1084.0, 1e6)
    asked = [line for line in caplog.messages if line == Task.REBOOT.value]
    assert (node.reboot_count(), len(asked)) == (0, 1)


def test_a_lock_that_is_let_go_costs_neither_arrival_nor_cause(node: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    node.configure(policy="external", deadline="900")
    node.start_trial()
    monkeypatch.setattr("manageboot.upgrade.verbs._ARRIVAL_WAIT_S", 0.0)
    with lock.held(str(node.run_directory / "lock"), "confirm"):
        daemon = start(node)
        turn(daemon, *(float(now_s) for now_s in range(10, 30 + int(BUSY_S) + 30, 15)))
        assert daemon._runner.jobs.lock_hangs
    turn(daemon, 350.0)
    assert (node.block()["mb_trial"], node.events(), daemon._runner.jobs.lock_hangs) == (
        "userspace",
        ["trial_started"],
        False,
    )
    turn(daemon, 899.0, 900.0)
    assert (node.block()["mb_trial"], node.reboot_count()) == ("deadline", 1)


def test_a_confirm_that_waits_for_an_installation_keeps_nothing_else_waiting(
    node: DaemonNode, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    record.store(str(node.directory / "state"), {Slot.B: SlotRecord(Content.COMMITTED, version="2", nonce="n1")})
    node.set_block(boot_alternative="B", boot_cycle="stable", mb_ack="n1")
    node.boot("B", "stable")
    node.set_unit("local-fs.target", "activating 3")
    monkeypatch.setattr("manageboot.upgrade.verbs._CONFIRM_WAIT_S", 0.0)
    logging.getLogger("manageboot").addHandler(handler := logging.StreamHandler(sys.stderr))
    try:
        daemon = start(node)
        turn(daemon, 7.0)
        with lock.held(str(node.run_directory / "lock"), "upgrade-install"):
            node.set_unit("local-fs.target", "active")
            turn(daemon, *(float(now_s) for now_s in range(10, 100, 3)))
            assert (node.remembered()["boot_told"], daemon._queue) == (False, [])
        turn(daemon, 120.0)
        assert node.remembered()["boot_told"]
    finally:
        logging.getLogger("manageboot").removeHandler(handler)
    assert node.events() == ["confirmed"]
    log = capfd.readouterr().err
    assert (log.count("cannot confirm"), log.count("failed: tell what this boot is")) == (1, 1)


@pytest.mark.parametrize("restarted", [False, True])
def test_what_the_records_tell_is_told_however_late_they_come(node: DaemonNode, restarted: bool):
    """Here the record of a commit is all that tells of the fallback, and the check of /var takes long."""
    node.boot("A", "stable")
    node.set_unit("local-fs.target", "activating 3")
    daemon = start(node)
    turn(daemon, 10.0, 119.0, 121.0, 200.0)
    assert (node.events(), node.remembered()["boot_told"], node.remembered()["boot_told_early"]) == ([], False, True)
    daemon = start(node) if restarted else daemon
    turn(daemon, 210.0)
    records = {
        Slot.A: SlotRecord(Content.CONFIRMED),
        Slot.B: SlotRecord(Content.COMMITTED, version="2", committed="2026-11-24T23:00:00Z"),
    }
    record.store(str(node.directory / "state"), records)
    node.set_unit("local-fs.target", "active")
    turn(daemon, 300.0, 3000.0)
    assert (node.events(), node.remembered()["boot_told"]) == (["fallback"], True)
    turn(start(node), 4000.0)
    assert node.events() == ["fallback"]


def test_what_a_library_prints_on_stderr_changes_no_verdict(node: DaemonNode):
    """As the C library does, in every program, where /etc/ld.so.preload names one that is gone."""
    systemctl = node.directory / "bin" / "systemctl"
    first, rest = systemctl.read_text().split("\n", 1)
    systemctl.write_text(f'{first}\necho "ERROR: ld.so: object libgone.so cannot be preloaded: ignored." >&2\n{rest}')
    node.start_trial()
    node.configure(health='required_units = ["one.service"]')
    daemon = start(node)
    turn(daemon, 10.0, 20.0, 30.0)
    assert (node.block()["boot_cycle"], node.events()[-1]) == ("stable", "confirmed")
    # What systemd is done with is asked in the same way.
    assert daemon._file_systems.state is FileSystems.SETTLED


def test_a_look_that_fails_as_nobody_expected_ends_no_deadline(node: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    node.configure(policy="external", deadline="900")
    node.start_trial()

    def fail(*_arguments: object, **_named: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("manageboot.daemon.look.observe", fail)
    daemon = start(node)
    turn(daemon, 10.0, 899.0)
    assert ("cannot look at this node" in node.status()["daemon"]["status"], node.reboot_count()) == (True, 0)
    turn(daemon, 900.0)
    assert node.reboot_count() == 1


@pytest.mark.parametrize("task", sorted(set(Task) - REBOOTING - {Task.CHECK}, key=lambda task: task.name))
def test_only_what_is_to_reboot_the_node_does(node: DaemonNode, task: Task):
    node.configure(policy="external", deadline="900")
    node.start_trial()
    job = start(node)._job_of(task, 1000.0)
    jobs.guarded(job, config.load(str(node.config)))()
    assert (node.reboot_count(), node.manageboot("next")) == (0, "B" if task is Task.CONFIRM else "A")


def test_a_task_that_no_job_does_ends_the_daemon_and_reboots_nothing(node: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    """The checks run beside the loop. Should they ever be sent as a job, that is a bug, and no reason to reboot."""
    node.start_trial()
    daemon = start(node)
    with pytest.raises(AssertionError, match="no job"):
        daemon._job_of(Task.CHECK, 10.0)
    monkeypatch.setattr("manageboot.daemon.daemon.decide", lambda *_arguments: Decision("a task of tomorrow"))
    with pytest.raises(AssertionError, match="no job"):
        turn(daemon, 10.0)
    assert node.reboot_count() == 0
