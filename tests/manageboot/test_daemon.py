"""The daemon as a process: what it does to the block, the history, the status, and what it tells systemd."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from manageboot import config, errands, errors, localfs, lock, record, verbs
from manageboot.protocol import Content, Slot
from manageboot.record import SlotRecord
from manageboot.supervision import AGAIN_S, BUSY_S, LONG_S, PATIENCE_S, RETRY_S
from manageboot.traces import Trial
from support.daemonnode import NEVER, DaemonNode, RunningDaemon, running, start, stepped, turn

pytestmark = pytest.mark.grub

PAST = "1s"
"""A deadline that any machine is past which runs tests."""
RSS_LIMIT_KIB = 30 * 1024


@pytest.fixture
def quiet(tmp_path: Path) -> DaemonNode:
    return DaemonNode(tmp_path)


@pytest.fixture
def trial(quiet: DaemonNode) -> DaemonNode:
    quiet.start_trial()
    return quiet


def wait_for_block(daemon: RunningDaemon, node: DaemonNode, **values: str) -> None:
    daemon.wait_for(lambda: values.items() <= node.block().items(), f"{values} in the block")


def test_without_a_trial_it_only_watches(quiet: DaemonNode):
    before = quiet.grubenv.read_bytes()
    with running(quiet) as daemon:
        assert "STATUS=slot A is booted and trusted" in daemon.notices
        daemon.wait_for(lambda: quiet.status()["daemon"]["running"], "the status")
        assert quiet.status()["daemon"]["status"] == "slot A is booted and trusted"
        daemon.stop()
        assert "STOPPING=1" in daemon.notices
        log = daemon.log().splitlines()
        assert "manageboot: slot A is up (boot_alternative=A boot_cycle=stable, GRUB found stable)" in log
        assert "manageboot: slot A has no record" in log
    assert quiet.grubenv.read_bytes() == before
    assert quiet.status()["daemon"]["running"] is False
    assert quiet.reboot_count() == 0
    assert quiet.events() == []


def test_it_is_small_in_a_trial_too(trial: DaemonNode):
    """There it has loaded what a reboot needs, so that a disk that hangs can't keep it from one."""
    trial.configure(policy="external")
    with running(trial) as daemon:
        daemon.wait_for(lambda: (trial.status()["daemon"]["health"] or {}).get("verdict") == "good", "the checks")
        assert field(Path("/proc", str(daemon.process.pid), "status"), "VmRSS") < RSS_LIMIT_KIB


def test_it_is_small_and_sleeps(quiet: DaemonNode):
    with running(quiet) as daemon:
        proc = Path("/proc", str(daemon.process.pid))

        def asleep() -> bool:
            return (proc / "wchan").read_text() != "0" and children(daemon.process.pid) == []

        daemon.wait_for(asleep, "the daemon to sleep")
        ticks = (proc / "stat").read_text().split()[13:15]
        switches = field(proc / "status", "voluntary_ctxt_switches")
        for _ in range(10):
            daemon.wait_for(asleep, "the daemon to sleep")
            daemon._listen(0.05)
        assert field(proc / "status", "voluntary_ctxt_switches") <= switches + 1
        assert (proc / "stat").read_text().split()[13:15] == ticks
        assert field(proc / "status", "VmRSS") < RSS_LIMIT_KIB


def field(path: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(f"{name}:"))


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_it_tells_the_watchdog_in_time(quiet: DaemonNode):
    with running(quiet, WATCHDOG_USEC="300000") as daemon:
        daemon.wait_for(lambda: daemon.notices.count("WATCHDOG=1") >= 5, "five signs of life")


def test_a_healthy_trial_is_confirmed(trial: DaemonNode):
    trial.add_check("required/10-disk", "echo all well")
    with running(trial) as daemon:
        wait_for_block(daemon, trial, boot_cycle="stable")
        daemon.wait_for(lambda: trial.status()["daemon"]["health"] is not None, "the results")
        daemon.stop()
    health = trial.status()["daemon"]["health"]
    assert health["verdict"] == "good"
    assert [(check["name"], check["result"], check["text"]) for check in health["checks"]] == [
        ("boot-complete.target", "passed", "active (made-up)"),
        ("required/10-disk", "passed", "all well"),
    ]
    assert trial.block()["boot_alternative"] == "B"
    assert trial.events() == ["trial_started", "confirmed"]
    assert (trial.problems(), trial.reboot_count()) == ([], 0)


def test_the_external_policy_waits_for_somebody(trial: DaemonNode):
    trial.configure(policy="external")
    with running(trial) as daemon:
        daemon.wait_for(lambda: (trial.status()["daemon"]["health"] or {}).get("verdict") == "good", "the checks")
        assert trial.block()["mb_trial"] == "userspace"
        assert trial.block()["boot_cycle"] == "failsafe_check"
        trial.manageboot("confirm")
        daemon.wait_for_notice("STATUS=slot B is booted and trusted")
        daemon.stop()
    assert trial.events() == ["trial_started", "confirmed"]


def test_nobody_confirms(trial: DaemonNode):
    trial.configure(policy="external", deadline=PAST)
    with running(trial) as daemon:
        daemon.wait_for(lambda: trial.reboot_count() == 1, "the reboot")
        wait_for_block(daemon, trial, mb_trial="deadline", boot_cycle="failsafe_check")
        daemon.stop()
    assert trial.events() == ["trial_started", "rolled_back", "deadline"]


def test_no_deadline_no_reboot(trial: DaemonNode):
    trial.configure(policy="external", deadline="0")
    with running(trial) as daemon:
        daemon.wait_for(lambda: (trial.status()["daemon"]["health"] or {}).get("verdict") == "good", "the checks")
        daemon.stop()
    assert (trial.reboot_count(), trial.block()["mb_trial"]) == (0, "userspace")


def test_more_tries_are_not_used_for_a_trial_that_was_given_up(trial: DaemonNode):
    trial.set_block(mb_tries="3")
    trial.configure(deadline=PAST, health='required_units = ["late.service"]')
    trial.set_unit("late.service", "activating")
    with running(trial) as daemon:
        daemon.wait_for(lambda: trial.reboot_count() == 1, "the reboot")
        daemon.stop()
    assert trial.manageboot("next") == "A"


def test_a_required_unit_that_failed(trial: DaemonNode):
    trial.configure(health='required_units = ["web.service"]')
    trial.set_unit("web.service", "failed")
    with running(trial) as daemon:
        daemon.wait_for(lambda: trial.reboot_count() == 1, "the reboot")
        daemon.stop()
    assert trial.block()["mb_trial"] == "unhealthy"
    assert trial.events() == ["trial_started", "rolled_back", "health_failed"]
    assert "web.service failed: failed (made-up)" in trial.manageboot("history")
    assert trial.problems() == ["CHECK_FAILED"]


def test_a_required_check_that_hangs(trial: DaemonNode):
    trial.configure(health='timeout = "1s"')
    trial.add_check("required/10-disk", "echo waiting for the disk; sleep 1000")
    with running(trial) as daemon:
        daemon.wait_for(lambda: trial.reboot_count() == 1, "the reboot")
        daemon.stop()
    [check] = [check for check in trial.status()["daemon"]["health"]["checks"] if check["result"] != "passed"]
    assert (check["name"], check["result"]) == ("required/10-disk", "hung")
    assert check["text"] == "no end after 1 s\nwaiting for the disk"
    assert trial.block()["mb_trial"] == "unhealthy"


def test_a_wanted_check_only_warns(trial: DaemonNode):
    trial.add_check("wanted/10-clock", "echo the clock is off; exit 1")
    with running(trial) as daemon:
        wait_for_block(daemon, trial, boot_cycle="stable")
        daemon.wait_for(lambda: "health_warning" in trial.events(), "the warning")
        daemon.stop()
    assert trial.events() == ["trial_started", "confirmed", "health_warning"]
    assert (trial.problems(), trial.reboot_count()) == (["CHECK_FAILED"], 0)


def test_somebody_is_at_work(trial: DaemonNode):
    trial.configure(deadline=PAST)
    trial.add_check("required/10-disk", "exit 1")
    trial.manageboot("confirm", "--hold")
    with running(trial) as daemon:
        daemon.wait_for_notice("on hold")
        assert trial.status()["daemon"]["held"] is True
        assert "hold    the daemon decides nothing" in trial.manageboot("status")
        assert (trial.reboot_count(), trial.block()["mb_trial"]) == (0, "userspace")
        trial.manageboot("confirm", "--release")
        daemon.wait_for(lambda: trial.reboot_count() == 1, "the reboot")
        daemon.stop()
    assert trial.status()["daemon"]["held"] is False
    assert trial.block()["mb_trial"] == "deadline"


def test_killed_in_the_middle_it_goes_on(trial: DaemonNode):
    marks = trial.directory / "marks"
    trial.add_check("required/10-disk", f"echo $$ >> {marks}; test $(wc -l < {marks}) -gt 1 || sleep 1000")
    with running(trial) as daemon:
        daemon.wait_for(lambda: marks.exists() and marks.read_text().endswith("\n"), "the check to start")
        daemon.kill()
    # As systemd does with what a service leaves behind; each check has a process group of its own.
    os.killpg(int(marks.read_text()), signal.SIGKILL)
    assert trial.block()["boot_cycle"] == "failsafe_check"
    with running(trial) as daemon:
        wait_for_block(daemon, trial, boot_cycle="stable")
        daemon.stop()
    # The second one knows what the first one has told.
    assert trial.events() == ["trial_started", "confirmed"]


def test_a_fallback_is_told_once(trial: DaemonNode):
    trial.set_block(boot_alternative="A", boot_cycle="stable", mb_fallback="unconfirmed", mb_trial="deadline")
    trial.boot("A", "failsafe_check")
    for _ in range(2):
        with running(trial) as daemon:
            daemon.wait_for(lambda: "fallback" in trial.events(), "the fallback")
            daemon.stop()
        # As in the next boot, which knows it only from the history.
        (trial.run_directory / "daemon.json").unlink()
    assert trial.events() == ["fallback"]
    assert "(deadline)" in trial.manageboot("history")


def test_a_damaged_block_is_told_and_survived(quiet: DaemonNode):
    quiet.grubenv.write_bytes(b"\0" * 1024)
    for _ in range(2):
        with running(quiet) as daemon:
            daemon.wait_for(lambda: "block_damaged" in quiet.events(), "the event")
            daemon.stop()
    assert quiet.events() == ["block_damaged"]


def test_a_trial_that_finds_no_block_ends_at_the_deadline(trial: DaemonNode):
    trial.configure(deadline=PAST, grubenv="/nowhere/grubenv")
    with running(trial) as daemon:
        daemon.wait_for(lambda: trial.reboot_count() == 1, "the reboot")
        daemon.stop()


def test_a_reboot_command_that_fails_is_no_way_to_stay(trial: DaemonNode):
    trial.configure(deadline=PAST)
    trial.config.write_text(trial.config.read_text().replace("/bin/sh", "/bin/false"))
    with running(trial) as daemon:
        wait_for_block(daemon, trial, mb_trial="deadline")
        daemon.wait_for(lambda: trial.reboot_count() == 1, "the reboot")
        daemon.wait_for(lambda: children(daemon.process.pid) == [], "the errand to end")
        daemon.stop()
        assert "cannot reboot" in daemon.log()
    assert trial.reboots.read_text() == "last resort\n"


@pytest.mark.devices
def test_a_full_run_directory_is_survived(trial: DaemonNode):
    trial.run_directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", trial.run_directory], check=True)
    try:
        with (
            (trial.run_directory / "ballast").open("wb", buffering=0) as file,
            pytest.raises(OSError, match="No space"),
        ):
            while True:
                file.write(b"x" * 4096)
        with running(trial) as daemon:
            wait_for_block(daemon, trial, boot_cycle="stable")
            daemon.stop()
    finally:
        subprocess.run(["umount", "--lazy", trial.run_directory], check=True)


def test_a_bad_configuration_is_said_once(quiet: DaemonNode):
    quiet.configure(deadline="soon")
    argv = [sys.executable, "-m", "manageboot", "-c", str(quiet.config), "daemon"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "[CONFIG]" in done.stderr) == (78, True)


def test_a_node_without_a_booted_slot_is_survived(quiet: DaemonNode):
    (quiet.directory / "cmdline").write_text("quiet\n")
    with running(quiet) as daemon:
        daemon.wait_for_notice("cannot tell the booted slot")
        daemon.stop()


def test_sigint_ends_it_too(quiet: DaemonNode):
    with running(quiet) as daemon:
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.process.wait(30) == 0


def test_a_check_that_runs_ends_with_the_daemon(trial: DaemonNode):
    trial.configure(deadline=NEVER)
    pid = trial.directory / "pid"
    trial.add_check("required/10-disk", f"echo $$ > {pid}; sleep 1000")
    with running(trial) as daemon:
        daemon.wait_for(lambda: pid.exists() and pid.read_text().strip(), "the check to start")
        daemon.stop()
        daemon.process.wait()
    stat = Path("/proc", pid.read_text().strip(), "stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def fail_to_write(*_arguments: object) -> None:
    raise errors.DeviceError("cannot write the block: Input/output error")


def refuse(*_arguments: object) -> None:
    raise errors.NotPermittedError("cannot write the block: Read-only file system")


def hang(*_arguments: object) -> None:
    time.sleep(1000)


def test_a_block_that_is_lost_in_an_unhealthy_trial(trial: DaemonNode):
    trial.configure(policy="external", deadline="0")
    trial.add_check("required/10-disk", f"rm -r {trial.grubenv.parent}; exit 1")
    with running(trial) as daemon:
        daemon.wait_for(lambda: trial.reboot_count() == 1, "the reboot")
        daemon.stop()


def test_an_errand_that_hangs_does_not_keep_the_next_daemon_out(trial: DaemonNode):
    trial.configure(policy="external", deadline=PAST)
    pid = trial.directory / "pid"
    # An errand that waits, here for a program that does not end.
    text = trial.config.read_text()
    trial.config.write_text(text.replace("echo reboot >>", f"echo $$ > {pid}; sleep 1000; echo reboot >>"))
    errand: list[str] = []
    try:
        with running(trial) as daemon:
            daemon.wait_for(lambda: pid.exists() and pid.read_text().strip(), "the errand to hang")
            errand = children(daemon.process.pid)
            daemon.kill()
        assert errand
        trial.config.write_text(text)
        assert trial.status()["daemon"]["running"] is False
        with running(trial) as daemon:
            daemon.stop()
    finally:
        for left in (pid.read_text().strip(), *errand):
            with suppress(ProcessLookupError):
                os.killpg(int(left), signal.SIGKILL)


class TestARebootThatDoesNotCome:
    """Driven turn by turn, with a clock of its own."""

    @pytest.fixture
    def pending(self, quiet: DaemonNode, monkeypatch: pytest.MonkeyPatch) -> DaemonNode:
        return stepped(quiet, monkeypatch)

    def commit(self, node: DaemonNode) -> None:
        node.set_block(boot_alternative="B", boot_cycle="first_boot", mb_nonce="n2")

    def test_it_is_told_and_left_alone(self, pending: DaemonNode):
        daemon = start(pending)
        turn(daemon, 10.0)
        self.commit(pending)
        for now_s in (100.0, 100.0 + PATIENCE_S - 1):
            turn(daemon, now_s)
        assert (pending.events(), "REBOOT_MISSING" in pending.problems()) == ([], False)
        for now_s in (100.0 + PATIENCE_S, 5000.0):
            turn(daemon, now_s)
        assert (pending.events(), "REBOOT_MISSING" in pending.problems()) == (["reboot_missing"], True)
        pending.manageboot("upgrade-cancel")
        turn(daemon, 6000.0)
        assert ("REBOOT_MISSING" in pending.problems(), pending.reboot_count()) == (False, 0)

    def test_it_is_asked_for_again(self, pending: DaemonNode):
        pending.configure(boot="reboot_again = true")
        daemon = start(pending)
        turn(daemon, 10.0)
        self.commit(pending)
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

    def test_a_commit_that_grub_did_not_try_is_no_reason_to_reboot(self, pending: DaemonNode):
        pending.configure(boot="reboot_again = true")
        self.commit(pending)
        pending.boot("A", "first_boot")
        daemon = start(pending)
        for now_s in (10.0, 1000.0, 1e6):
            turn(daemon, now_s)
        assert pending.reboot_count() == 0

    def test_what_was_given_up_is_insisted_on(self, pending: DaemonNode):
        pending.configure(policy="external", deadline="900")
        pending.start_trial()
        daemon = start(pending)
        turn(daemon, 899.0)
        assert pending.reboot_count() == 0
        turn(daemon, 900.0)
        assert (pending.reboot_count(), pending.block()["mb_trial"]) == (1, "deadline")
        turn(start(pending), 900.0 + AGAIN_S)
        assert (pending.reboot_count(), pending.events()[-1]) == (2, "reboot_missing")

    def test_a_block_that_can_not_be_written_is_no_way_out(self, pending: DaemonNode, monkeypatch: pytest.MonkeyPatch):
        pending.configure(policy="external", deadline="900")
        pending.start_trial()
        monkeypatch.setattr("manageboot.environment.write", fail_to_write)
        daemon = start(pending)
        for now_s in (900.0, 910.0, 900.0 + AGAIN_S - 1):
            turn(daemon, now_s)
        assert pending.reboot_count() == 1
        assert pending.events().count("deadline") == 1
        assert pending.manageboot("next") == "A"
        turn(daemon, 900.0 + AGAIN_S)
        assert pending.reboot_count() == 2

    def test_a_block_that_is_read_only_is_no_way_out(self, pending: DaemonNode, monkeypatch: pytest.MonkeyPatch):
        pending.configure(policy="external", deadline="900")
        pending.start_trial()
        # As vfat with errors=remount-ro, which can't be flushed or written.
        monkeypatch.setattr("manageboot.environment.settle", refuse)
        daemon = start(pending)
        for now_s in (900.0, 900.0 + AGAIN_S):
            turn(daemon, now_s)
        assert pending.reboot_count() == 2
        # The history keeps what led there, however often it is tried.
        assert pending.events() == ["deadline"]

    def test_one_that_grub_could_not_write_either_is_no_loop(
        self, pending: DaemonNode, monkeypatch: pytest.MonkeyPatch
    ):
        pending.configure(policy="external", deadline="900")
        pending.start_trial()
        pending.set_block(boot_cycle="first_boot")
        monkeypatch.setattr("manageboot.environment.settle", refuse)
        daemon = start(pending)
        for now_s in (900.0, 900.0 + RETRY_S, LONG_S - 1):
            turn(daemon, now_s)
        assert (pending.reboot_count(), "deadline" in pending.events()) == (0, False)
        # A file system that is read-only since an error often comes back with a reboot.
        turn(daemon, LONG_S + RETRY_S)
        assert pending.reboot_count() == 1

    def start_another_trial(self, node: DaemonNode, cycle: str) -> None:
        """Boot slot B on trial with a script that is not the shipped one, which leaves what an earlier trial left."""
        node.set_block(boot_alternative="B", boot_cycle=cycle, mb_nonce="n0", mb_ack="n0", mb_trial="deadline")
        (node.directory / "cmdline").write_text("dfinity.system=B\n")

    @pytest.mark.parametrize("cycle", ["failsafe_check", "first_boot"])
    def test_what_an_earlier_trial_left_is_not_of_this_one(self, pending: DaemonNode, cycle: str):
        pending.configure(policy="external", deadline="900")
        self.start_another_trial(pending, cycle)
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

    def test_it_is_not_of_this_one_even_if_it_can_not_be_cleared(
        self, pending: DaemonNode, monkeypatch: pytest.MonkeyPatch
    ):
        pending.configure(policy="external", deadline="900")
        self.start_another_trial(pending, "failsafe_check")
        monkeypatch.setattr("manageboot.environment.settle", refuse)
        daemon = start(pending)
        for now_s in (10.0, 10.0 + PATIENCE_S, 899.0):
            turn(daemon, now_s)
        assert ("reboot_missing" in pending.events(), pending.reboot_count()) == (False, 0)
        turn(daemon, 900.0)
        assert ("deadline" in pending.events(), pending.reboot_count()) == (True, 1)

    def test_a_trial_that_was_given_up_before_the_daemon_came_stays_so(self, pending: DaemonNode):
        pending.configure(policy="automatic", deadline="900")
        self.start_another_trial(pending, "failsafe_check")
        pending.manageboot("rollback", "--no-reboot")
        daemon = start(pending)
        for now_s in (10.0, 20.0, 10.0 + PATIENCE_S):
            turn(daemon, now_s)
        assert (pending.block()["mb_trial"], pending.block()["boot_cycle"]) == ("by_hand", "failsafe_check")
        assert pending.events()[-1] == "reboot_missing"

    def test_somebody_holds_the_lock_for_ever(self, pending: DaemonNode, monkeypatch: pytest.MonkeyPatch):
        pending.configure(policy="external", deadline="20")
        pending.start_trial()
        monkeypatch.setattr("manageboot.arrival._WAIT_S", 0.0)
        with lock.held(str(pending.run_directory / "lock"), "confirm"):
            daemon = start(pending)
            for now_s in range(10, 10 + int(BUSY_S) + 60, 15):
                if now_s < 10 + BUSY_S:
                    assert pending.reboot_count() == 0
                turn(daemon, float(now_s))
        assert pending.reboot_count() == 1

    def test_a_lock_that_was_held_for_long_is_no_reason_to_reboot(
        self, pending: DaemonNode, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("manageboot.arrival._WAIT_S", 0.0)
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
    def test_a_block_that_is_lost_in_the_trial(self, pending: DaemonNode, restarted: bool, how: str):
        pending.configure(policy="external", deadline="900")
        pending.start_trial()
        daemon = start(pending)
        turn(daemon, 10.0)
        self.lose_block(pending, how)
        daemon = start(pending) if restarted else daemon
        turn(daemon, 899.0)
        assert pending.reboot_count() == 0
        turn(daemon, 900.0)
        assert pending.reboot_count() == 1

    @pytest.mark.parametrize("how", ["empty", "gone"])
    @pytest.mark.parametrize("slot", ["A", "B"])
    def test_a_block_that_was_lost_before_the_daemon_came(self, pending: DaemonNode, how: str, slot: str):
        """Slot A is what GRUB assumes without one, so such a trial looks like a slot that is trusted."""
        pending.configure(policy="external", deadline="900")
        pending.start_trial()
        pending.boot(slot, "first_boot", try_="1")
        self.lose_block(pending, how)
        daemon = start(pending)
        turn(daemon, 10.0)
        assert "GRUB started a trial by it" in pending.status()["daemon"]["status"]
        assert pending.status()["daemon"]["deadline_s"] == 900.0
        turn(daemon, 899.0)
        assert pending.reboot_count() == 0
        turn(daemon, 900.0)
        assert pending.reboot_count() == 1

    @pytest.mark.parametrize("how", ["empty", "gone"])
    def test_a_block_that_is_lost_where_there_is_no_trial(self, pending: DaemonNode, how: str):
        pending.configure(policy="external", deadline="900")
        self.lose_block(pending, how)
        daemon = start(pending)
        for now_s in (10.0, 900.0, 1e6):
            turn(daemon, now_s)
        assert (pending.reboot_count(), pending.status()["daemon"]["status"]) == (0, "slot A is booted and trusted")

    @pytest.mark.parametrize("seen", [False, True])
    @pytest.mark.parametrize("how", ["zeros", "empty", "gone"])
    def test_a_block_that_is_lost_after_the_confirm_is_no_reason_to_reboot(
        self, pending: DaemonNode, seen: bool, how: str
    ):
        pending.configure(policy="external", deadline="900")
        pending.start_trial()
        daemon = start(pending)
        turn(daemon, 10.0)
        pending.manageboot("confirm")
        if seen:
            turn(daemon, 20.0)
        self.lose_block(pending, how)
        for now_s in (900.0, 1000.0, 1e6):
            turn(daemon, now_s)
        assert pending.reboot_count() == 0

    def test_the_last_look_is_right_before_the_reboot(self, pending: DaemonNode):
        settings = config.load(str(pending.config))
        reboot = errands.guarded(errands.reboot(flush=False, tried=False), settings)
        assert (reboot(), pending.reboot_count()) == (0, 0)
        pending.start_trial()
        pending.manageboot("confirm", "--hold")
        assert (reboot(), pending.reboot_count()) == (0, 0)
        pending.manageboot("confirm", "--release")
        assert (reboot(), pending.reboot_count()) == (0, 1)

    def test_a_disk_that_hangs_does_not_stop_the_reboot(self, pending: DaemonNode, monkeypatch: pytest.MonkeyPatch):
        pending.start_trial()
        monkeypatch.setattr("manageboot.errands._FLUSH_S", 0.2)
        monkeypatch.setattr("manageboot.errands._LOOK_S", 0.2)
        monkeypatch.setattr("os.sync", hang)
        monkeypatch.setattr("manageboot.errands.observe", hang)
        settings = config.load(str(pending.config))
        assert errands.guarded(errands.reboot(flush=True, tried=False), settings)() == 0
        assert pending.reboot_count() == 1

    def test_a_trial_that_is_confirmed_in_the_last_moment_stays(self, pending: DaemonNode):
        pending.start_trial()
        settings = config.load(str(pending.config))
        assert verbs.confirm(settings) == "slot B is confirmed"
        assert errands.guarded(errands.give_up(Trial.DEADLINE, "late"), settings)() == 0
        assert (pending.manageboot("next"), pending.reboot_count()) == ("B", 0)
        assert "deadline" not in pending.events()

    @pytest.mark.parametrize("comes", [True, False])
    def test_what_the_records_tell_waits_for_the_file_systems(self, pending: DaemonNode, comes: bool):
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

    def test_the_deadline_waits_for_no_file_system(self, pending: DaemonNode):
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
    def test_a_confirm_that_was_cut_short_is_completed(self, pending: DaemonNode, policy: str):
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

    def test_devices_that_are_not_there_are_told_after_a_while(self, pending: DaemonNode):
        (pending.run_directory / "daemon.json").unlink()
        daemon = start(pending)
        turn(daemon, 10.0)
        assert pending.problems() == []
        turn(daemon, 20.0)
        assert pending.problems() == ["DEVICE_LOST"] * 4
        assert pending.events() == ["device_lost"] * 4
        turn(daemon, 1000.0)
        assert pending.events() == ["device_lost"] * 4
