"""Why a trial did not stay: what status says in the old slot, for every way that a trial can end."""

from pathlib import Path

import pytest

from manageboot import arrival, config
from manageboot.fallback import Cause
from support.images import make_update
from support.node import LoopNode

pytestmark = pytest.mark.devices


@pytest.fixture
def committed(node: LoopNode, tmp_path: Path) -> LoopNode:
    """A node that the shipped script booted, with a commit that has a nonce."""
    boot(node, "A")
    node.ok("upgrade-install", make_update(tmp_path / "update"))
    node.ok("upgrade-commit", "--no-reboot")
    assert node.block()["mb_nonce"]
    return node


def boot(node: LoopNode, slot: str, fault: str = "", nonce: str = "") -> None:
    words = f" manageboot.fault={fault}" if fault else ""
    words += f" manageboot.nonce={nonce}" if nonce else ""
    node.cmdline.write_text(f"dfinity.system={slot} manageboot.slot={slot} manageboot.cycle=x{words}\n")


def start_trial(node: LoopNode) -> None:
    """Do what GRUB does with the first try; tests/protocol holds that it does."""
    nonce = node.block()["mb_nonce"]
    node.set_block(boot_cycle="failsafe_check", mb_ack=nonce, mb_tried="1")
    boot(node, "B", nonce=nonce)


def arrived(node: LoopNode) -> None:
    """Do what the daemon does first in each boot."""
    arrival.arrived(config.load(str(node.config)))


def fall_back(node: LoopNode, why: str) -> None:
    node.set_block(boot_alternative="A", boot_cycle="stable", mb_fallback=why)
    boot(node, "A")


def cause(node: LoopNode) -> str | None:
    status = node.status()
    codes = [problem["code"] for problem in status["problems"]]
    assert ("FELL_BACK" in codes) is (status["fallback"] is not None)
    return None if status["fallback"] is None else status["fallback"]["cause"]


def test_a_commit_that_waits_is_no_fallback(committed: LoopNode):
    assert cause(committed) is None
    start_trial(committed)
    assert cause(committed) is None


def test_it_could_not_be_loaded(committed: LoopNode):
    start_trial(committed)
    fall_back(committed, "unloadable")
    assert cause(committed) == Cause.UNLOADABLE


def test_it_died_before_userspace(committed: LoopNode):
    start_trial(committed)
    fall_back(committed, "unconfirmed")
    assert cause(committed) == Cause.DIED_EARLY


def test_it_died_later(committed: LoopNode):
    start_trial(committed)
    arrived(committed)
    arrived(committed)
    fall_back(committed, "unconfirmed")
    assert cause(committed) == Cause.DIED_LATER


@pytest.mark.parametrize(
    ("because", "expected"), [("by_hand", Cause.BY_HAND), ("unhealthy", Cause.UNHEALTHY), ("deadline", Cause.DEADLINE)]
)
def test_it_was_given_up(committed: LoopNode, because: str, expected: Cause):
    start_trial(committed)
    arrived(committed)
    committed.ok("rollback", "--no-reboot", "--because", because)
    fall_back(committed, "unconfirmed")
    assert cause(committed) == expected


@pytest.mark.parametrize("because", ["by_hand", "unhealthy", "deadline"])
def test_a_trial_that_was_given_up_is_not_confirmed_any_more(committed: LoopNode, because: str):
    start_trial(committed)
    committed.ok("rollback", "--no-reboot", "--because", because)
    before = committed.grubenv.read_bytes()
    done = committed.run("confirm")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"warning: nothing is confirmed: the trial of slot B was given up ({because})" in done.stderr
    assert (committed.grubenv.read_bytes(), committed.ok("next")) == (before, "A\n")


def test_what_an_earlier_trial_left_keeps_nobody_from_confirming(committed: LoopNode):
    """Another commit's nonce, or a grub.cfg that never clears what it does not know."""
    start_trial(committed)
    committed.set_block(mb_trial="unhealthy")
    boot(committed, "B", nonce="ffffffff")
    committed.ok("confirm")
    assert committed.block()["boot_cycle"] == "stable"
    committed.set_block(boot_cycle="failsafe_check", mb_nonce="12345678", mb_trial="unhealthy")
    committed.set_booted("B")
    committed.ok("confirm")
    assert committed.block()["boot_cycle"] == "stable"


def test_it_was_never_started(committed: LoopNode):
    boot(committed, "A", fault="unwritable")
    assert cause(committed) == Cause.NEVER_STARTED
    committed.ok("upgrade-cancel")
    boot(committed, "A")
    assert cause(committed) is None


def test_grub_went_back_and_could_not_write_that(committed: LoopNode):
    start_trial(committed)
    boot(committed, "A", fault="unwritable")
    assert (cause(committed), committed.status()["state"]) == (Cause.DIED_EARLY, "conflict")


def test_a_stock_script_leaves_no_trace_but_the_agent_does(node: LoopNode, tmp_path: Path):
    node.ok("upgrade-install", make_update(tmp_path / "update"))
    node.ok("upgrade-commit", "--no-reboot")
    assert [node.boot(), node.boot()] == ["B", "A"]
    assert cause(node) == Cause.UNKNOWN
    node.ok("upgrade-install", make_update(tmp_path / "again"))
    assert cause(node) is None
    node.ok("upgrade-commit", "--no-reboot")
    node.boot()
    arrived(node)
    node.boot()
    assert cause(node) == Cause.DIED_LATER


def test_it_is_told_until_the_next_installation(committed: LoopNode, tmp_path: Path):
    start_trial(committed)
    fall_back(committed, "unloadable")
    committed.ok("confirm")
    assert cause(committed) == Cause.UNLOADABLE
    committed.ok("upgrade-install", make_update(tmp_path / "again"))
    assert cause(committed) is None
    committed.ok("upgrade-commit", "--no-reboot")
    start_trial(committed)
    fall_back(committed, "unconfirmed")
    assert cause(committed) == Cause.DIED_EARLY


def test_a_rollback_that_nobody_confirms_is_a_fallback_too(committed: LoopNode):
    start_trial(committed)
    committed.ok("confirm")
    committed.ok("rollback", "--no-reboot")
    committed.set_block(boot_cycle="failsafe_check", mb_ack=committed.block()["mb_nonce"], mb_tried="1")
    boot(committed, "A")
    committed.set_block(boot_alternative="B", boot_cycle="stable", mb_fallback="unconfirmed")
    boot(committed, "B")
    assert committed.status()["fallback"] == {"slot": "A", "cause": Cause.DIED_EARLY}


def test_a_confirm_without_its_record_is_no_fallback(committed: LoopNode):
    """The power was cut after the block; the record of the old slot still says that it committed this one."""
    committed.set_block(boot_alternative="A", boot_cycle="stable", mb_nonce="", mb_ack="12345678")
    assert cause(committed) is None


def test_the_record_may_be_gone(committed: LoopNode):
    start_trial(committed)
    fall_back(committed, "unloadable")
    (committed.state / "record.json").unlink()
    assert cause(committed) == Cause.UNLOADABLE


def test_a_confirm_leaves_nothing_but_the_acknowledgement(committed: LoopNode):
    start_trial(committed)
    arrived(committed)
    committed.ok("confirm")
    ours = {name for name in committed.block() if name.startswith("mb_")}
    assert ours == {"mb_ack"}
    assert cause(committed) is None


def test_an_arrival_writes_only_in_a_trial(node: LoopNode):
    before = node.grubenv.read_bytes()
    arrived(node)
    assert node.grubenv.read_bytes() == before
