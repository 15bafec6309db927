"""A reboot that is refused, or that nobody obeys: a trial that was aborted ends, and a commit respects who refuses."""

from pathlib import Path

import pytest

from manageboot import config, errors
from manageboot.daemon import jobs, lastresort
from manageboot.daemon.lastresort import FORCE_S, ways
from manageboot.daemon.memory import AGAIN_S
from manageboot.daemon.policy import OVERDUE_AFTER_S
from support.daemonnode import DaemonNode, start, stepped, turn

pytestmark = pytest.mark.grub

COMMAND = ("systemd-run", "systemctl", "reboot")


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DaemonNode:
    """A node whose trial ends 900 s after its boot."""
    node = stepped(DaemonNode(tmp_path), monkeypatch)
    configure(node)
    node.start_trial()
    return node


def configure(node: DaemonNode, *reboot: str) -> None:
    node.configure(policy="external", deadline="900", reboot=reboot or None)


def test_an_inhibitor_keeps_no_trial_alive(node: DaemonNode):
    configure(node, "systemctl", "reboot")
    node.refuse_reboots("'reboot -i'")
    turn(start(node), 900.0)
    assert (node.asked(), node.block()["mb_trial"]) == (["reboot", "reboot -i"], "deadline")


def test_logind_that_refuses_that_too_is_passed_by(node: DaemonNode):
    configure(node, "systemctl", "reboot")
    node.refuse_reboots("*reboot.target")
    turn(start(node), 900.0)
    assert node.asked() == ["reboot", "reboot -i", "--no-block --job-mode=replace-irreversibly start reboot.target"]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_command_that_succeeds_and_does_nothing_is_not_all(node: DaemonNode, restarted: bool):
    """As one that leaves the reboot to a timer, which is refused it."""
    configure(node, "true")
    node.refuse_reboots("*")
    daemon = start(node)
    turn(daemon, 900.0)
    assert node.asked() == []
    daemon = start(node) if restarted else daemon
    turn(daemon, 900.0 + AGAIN_S)
    assert node.asked() == ["reboot -i"]


def test_what_does_not_come_in_good_order_is_forced(node: DaemonNode):
    node.refuse_reboots("*")
    daemon = start(node)
    moments_s = [900.0 + AGAIN_S * number for number in range(12)]
    for now_s in moments_s:
        turn(daemon, now_s)
    found = node.asked()
    assert found[0] == "reboot"
    assert found.count("reboot -i") == FORCE_S / AGAIN_S - 1
    assert found[-2:] == ["reboot --force", "reboot --force"]


def test_a_block_that_can_not_be_written_forces_it_too(node: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    def fail(*_arguments: object) -> None:
        raise errors.DeviceError("cannot write the block: Input/output error")

    monkeypatch.setattr("manageboot.boot.envblock.write", fail)
    node.refuse_reboots("*")
    daemon = start(node)
    for number in range(12):
        turn(daemon, 900.0 + AGAIN_S * number)
    assert node.asked()[-1] == "reboot --force"


def test_a_person_at_work_begins_it_anew(node: DaemonNode):
    node.refuse_reboots("*")
    daemon = start(node)
    turn(daemon, 900.0)
    node.manageboot("confirm", "--hold")
    turn(daemon, 2000.0)
    node.manageboot("confirm", "--release")
    turn(daemon, 3000.0)
    assert node.asked() == ["reboot", "reboot"]


def test_a_commit_that_waits_respects_who_refuses(node: DaemonNode):
    node.configure(boot="reboot_again = true", reboot=["systemctl", "reboot"])
    node.refuse_reboots("none")
    node.boot("A", "stable")
    node.set_block(boot_alternative="A", boot_cycle="stable", mb_trial="", mb_nonce="")
    daemon = start(node)
    turn(daemon, 10.0)
    node.commit()
    for now_s in (100.0, 100.0 + OVERDUE_AFTER_S, 100.0 + OVERDUE_AFTER_S + 2 * FORCE_S):
        turn(daemon, now_s)
    assert set(node.asked()) == {"reboot"}


def test_the_ways():
    assert ways(COMMAND, ends_trial=False, insisted_s=1e6) == [COMMAND, ("systemctl", "reboot")]
    first = ways(COMMAND, ends_trial=True, insisted_s=0.0)
    again = ways(COMMAND, ends_trial=True, insisted_s=AGAIN_S)
    forced = ways(COMMAND, ends_trial=True, insisted_s=FORCE_S)
    assert (first[0], again[-1], forced[-1]) == (COMMAND, COMMAND, COMMAND)
    assert set(first) == set(again)
    assert "--force" not in {word for way in first for word in way}
    assert forced[0][-1] == "--force"
    # With the look, and a flush, all of them fit in the time that a job has.
    assert 60 + 2 * lastresort._TIMEOUT_S + 5 + 10 < 150


@pytest.mark.parametrize(("status", "expected"), [(0, []), (1, ["reboot -i"])])
def test_output_that_is_no_text_is_neither_a_bug_nor_the_end(node: DaemonNode, status: int, expected: list[str]):
    script = node.directory / "reboot"
    script.write_text(f"#!/bin/sh\nprintf 'going down \\377'\nprintf '\\377' >&2\nexit {status}\n")
    script.chmod(0o755)
    configure(node, str(script))
    node.refuse_reboots("*")
    reboot = jobs.guarded(jobs.reboot(flush=False, tried=True), config.load(str(node.config)))
    assert (reboot(), node.asked()) == (0, expected)
