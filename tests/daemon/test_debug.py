"""The daemon with --debug: what it saw, what it decided, what it ran; and it does what it does without."""

import re
from pathlib import Path

import pytest

from support.daemonnode import DaemonNode, running

pytestmark = pytest.mark.grub


def test_a_trial_is_confirmed_and_shown(tmp_path: Path):
    node = DaemonNode(tmp_path)
    node.start_trial()
    node.add_check("required/net", "exit 0")
    node.add_check("wanted/dns", "exit 3")
    with running(node, MANAGEBOOT_DEBUG="1") as daemon:
        daemon.wait_for(lambda: node.block()["boot_cycle"] == "stable", "the confirm")
        daemon.wait_for(lambda: "health_warning" in node.events(), "the warning")
        daemon.stop()
        lines = [line for line in daemon.log().splitlines() if line.startswith("manageboot: debug: ")]
    told = [line.split(" ", 3)[3] for line in lines]
    number = r"\d+\.\d{3} s"
    for kind in (
        rf"decide: automatic=True .*; phase=trial, .*verdict=good .*; {number} since boot: task=confirm the trial",
        f"run: {re.escape(str(node.health))}/required/net",
        f"ended after {number}: {re.escape(str(node.health))}/required/net exited with 0",
        f"ended after {number}: {re.escape(str(node.health))}/wanted/dns exited with 3",
        "run: systemctl .*",
        "job: confirm the trial",
        "job ended: confirm the trial: status=0",
        r"may confirm\? trial: slot B is on trial, .*",
        rf"block: {re.escape(str(node.grubenv))} is to say boot_alternative=B boot_cycle=stable.*",
        r"rename \S+/daemon.json.new to \S+/daemon.json",
    ):
        assert any(re.fullmatch(kind, line) for line in told), (kind, told)
    assert node.events() == ["trial_started", "confirmed", "health_warning"]
