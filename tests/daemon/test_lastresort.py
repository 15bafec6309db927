"""A reboot that is refused, or that nobody obeys: a trial that was given up ends, and a commit respects who refuses."""

from pathlib import Path

import pytest

from manageboot import config, errors
from manageboot.daemon import jobs, lastresort
from manageboot.daemon.lastresort import FORCE_S, ways
from manageboot.daemon.memory import Memory, after_asking
from manageboot.daemon.policy import AGAIN_S, OVERDUE_AFTER_S
from support.daemonnode import DaemonNode, start, stepped, turn

pytestmark = pytest.mark.grub

COMMAND = ("systemd-run", "systemctl", "reboot")
REFUSING = """\
reboot|--no-block)
    echo "$*" >> {directory}/reboots
    case "$*" in {obeyed}) exit 0 ;; esac
    echo "Operation denied due to active block inhibitor" >&2
    exit 1 ;;
"""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DaemonNode:
    """A node whose trial ends 900 s after its boot."""
    node = stepped(DaemonNode(tmp_path), monkeypatch)
    node.configure(policy="external", deadline="900")
    node.start_trial()
    return node


def refuse(node: DaemonNode, obeyed: str) -> None:
    """Let systemctl obey some ways to reboot only, as a pattern of the shell, and write down all."""
    systemctl = node.directory / "bin" / "systemctl"
    lines = systemctl.read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if line.startswith("reboot)"))
    lines[place] = REFUSING.format(directory=node.directory, obeyed=obeyed)
    systemctl.write_text("".join(lines))


def command(node: DaemonNode, line: str) -> None:
    """Configure what reboots the node."""
    words = ", ".join(f'"{word}"' for word in line.split())
    lines = [
        f"reboot_command = [{words}]" if x.startswith("reboot_command") else x
        for x in node.config.read_text().split("\n")
    ]
    node.config.write_text("\n".join(lines))


def asked(node: DaemonNode) -> list[str]:
    return node.reboots.read_text().splitlines() if node.reboots.exists() else []


def test_an_inhibitor_keeps_no_trial_alive(node: DaemonNode):
    command(node, "systemctl reboot")
    refuse(node, "'reboot -i'")
    turn(start(node), 900.0)
    assert (asked(node), node.block()["mb_trial"]) == (["reboot", "reboot -i"], "deadline")


def test_logind_that_refuses_that_too_is_passed_by(node: DaemonNode):
    command(node, "systemctl reboot")
    refuse(node, "*reboot.target")
    turn(start(node), 900.0)
    assert asked(node) == ["reboot", "reboot -i", "--no-block --job-mode=replace-irreversibly start reboot.target"]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_command_that_succeeds_and_does_nothing_is_not_all(node: DaemonNode, restarted: bool):
    """As one that leaves the reboot to a timer, which is refused it."""
    command(node, "true")
    refuse(node, "*")
    daemon = start(node)
    turn(daemon, 900.0)
    assert asked(node) == []
    daemon = start(node) if restarted else daemon
    turn(daemon, 900.0 + AGAIN_S)
    assert asked(node) == ["reboot -i"]


def test_what_does_not_come_in_good_order_is_forced(node: DaemonNode):
    refuse(node, "*")
    daemon = start(node)
    moments_s = [900.0 + AGAIN_S * number for number in range(12)]
    for now_s in moments_s:
        turn(daemon, now_s)
    found = asked(node)
    assert found[0] == "reboot"
    assert found.count("reboot -i") == FORCE_S / AGAIN_S - 1
    assert found[-2:] == ["reboot --force", "reboot --force"]


def test_a_block_that_can_not_be_written_forces_it_too(node: DaemonNode, monkeypatch: pytest.MonkeyPatch):
    def fail(*_arguments: object) -> None:
        raise errors.DeviceError("cannot write the block: Input/output error")

    monkeypatch.setattr("manageboot.boot.envblock.write", fail)
    refuse(node, "*")
    daemon = start(node)
    for number in range(12):
        turn(daemon, 900.0 + AGAIN_S * number)
    assert asked(node)[-1] == "reboot --force"


def test_a_person_at_work_begins_it_anew(node: DaemonNode):
    refuse(node, "*")
    daemon = start(node)
    turn(daemon, 900.0)
    node.manageboot("confirm", "--hold")
    turn(daemon, 2000.0)
    node.manageboot("confirm", "--release")
    turn(daemon, 3000.0)
    assert asked(node) == ["reboot", "reboot"]


def test_a_commit_that_waits_respects_who_refuses(node: DaemonNode):
    node.configure(boot="reboot_again = true")
    command(node, "systemctl reboot")
    refuse(node, "none")
    node.boot("A", "stable")
    node.set_block(boot_alternative="A", boot_cycle="stable", mb_trial="", mb_nonce="")
    daemon = start(node)
    turn(daemon, 10.0)
    node.set_block(boot_alternative="B", boot_cycle="first_boot", mb_nonce="n2")
    for now_s in (100.0, 100.0 + OVERDUE_AFTER_S, 100.0 + OVERDUE_AFTER_S + 2 * FORCE_S):
        turn(daemon, now_s)
    assert set(asked(node)) == {"reboot"}


def test_the_ways():
    assert ways(COMMAND, trial=False, insisted_s=1e6) == [COMMAND, ("systemctl", "reboot")]
    first = ways(COMMAND, trial=True, insisted_s=0.0)
    again = ways(COMMAND, trial=True, insisted_s=AGAIN_S)
    forced = ways(COMMAND, trial=True, insisted_s=FORCE_S)
    assert (first[0], again[-1], forced[-1]) == (COMMAND, COMMAND, COMMAND)
    assert set(first) == set(again)
    assert "--force" not in {word for way in first for word in way}
    assert forced[0][-1] == "--force"
    # With the look, and a flush, all of them fit in the time that an errand has.
    assert 60 + 2 * lastresort._TIMEOUT_S + 5 + 10 < 150


def test_how_long_it_is_insisted_on_is_remembered():
    memory = after_asking(Memory(), 900.0)
    assert memory == Memory(asked_s=900.0, insists_since_s=900.0)
    assert after_asking(memory, 960.0) == Memory(asked_s=960.0, insists_since_s=900.0)
    assert after_asking(memory, 2000.0) == Memory(asked_s=2000.0, insists_since_s=2000.0)


@pytest.mark.parametrize(("status", "expected"), [(0, []), (1, ["reboot -i"])])
def test_output_that_is_no_text_is_neither_a_bug_nor_the_end(node: DaemonNode, status: int, expected: list[str]):
    script = node.directory / "reboot"
    script.write_text(f"#!/bin/sh\nprintf 'going down \\377'\nprintf '\\377' >&2\nexit {status}\n")
    script.chmod(0o755)
    command(node, str(script))
    refuse(node, "*")
    errand = jobs.guarded(jobs.reboot(flush=False, tried=True), config.load(str(node.config)))
    assert (errand(), asked(node)) == (0, expected)
