"""The daemon as a process: what it does to the block, the history, the status, and what it tells systemd."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from support.daemonnode import NEVER, DaemonNode, RunningDaemon, running

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
        daemon.wait_for(lambda: quiet.remembered()["boot_told"], "what it tells of this boot")
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

        def did_nothing() -> bool:
            ticks = (proc / "stat").read_text().split()[13:15]
            switches = field(proc / "status", "voluntary_ctxt_switches")
            for _ in range(10):
                daemon._listen(0.05)
            return (
                asleep()
                and field(proc / "status", "voluntary_ctxt_switches") == switches
                and (proc / "stat").read_text().split()[13:15] == ticks
            )

        # Others' devices come and go meanwhile, and udev tells of each; who looks by itself never is so still.
        daemon.wait_for(did_nothing, "half a second in which the daemon does nothing")
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


def test_more_tries_are_not_used_for_a_trial_that_was_aborted(trial: DaemonNode):
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
        assert "hold    the daemon is paused" in trial.manageboot("status")
        daemon.wait_for(lambda: trial.block().get("mb_trial") == "userspace", "the witness")
        assert trial.reboot_count() == 0
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
    quiet.lose_block("zeros")
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
    trial.configure(deadline=PAST, reboot=["/bin/false"])
    with running(trial) as daemon:
        wait_for_block(daemon, trial, mb_trial="deadline")
        daemon.wait_for(lambda: trial.reboot_count() == 1, "the reboot")
        daemon.wait_for(lambda: children(daemon.process.pid) == [], "the job to end")
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


def test_a_block_that_is_lost_in_an_unhealthy_trial(trial: DaemonNode):
    trial.configure(policy="external", deadline="0")
    trial.add_check("required/10-disk", f"rm -r {trial.grubenv.parent}; exit 1")
    with running(trial) as daemon:
        daemon.wait_for(lambda: trial.reboot_count() == 1, "the reboot")
        daemon.stop()


def test_a_job_that_hangs_does_not_keep_the_next_daemon_out(trial: DaemonNode):
    pid = trial.directory / "pid"
    # A job that waits, here for a program that does not end.
    hangs = ["/bin/sh", "-c", f"echo $$ > {pid}; sleep 1000"]
    trial.configure(policy="external", deadline=PAST, reboot=hangs)
    job: list[str] = []
    try:
        with running(trial) as daemon:
            daemon.wait_for(lambda: pid.exists() and pid.read_text().strip(), "the job to hang")
            job = children(daemon.process.pid)
            daemon.kill()
        assert job
        trial.configure(policy="external", deadline=PAST)
        assert trial.status()["daemon"]["running"] is False
        with running(trial) as daemon:
            daemon.stop()
    finally:
        for left in (pid.read_text().strip(), *job):
            with suppress(ProcessLookupError):
                os.killpg(int(left), signal.SIGKILL)
