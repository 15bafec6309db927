"""Why a trial did not stay: what status says in the old slot, for every way that a trial can end."""

import json
from pathlib import Path

import pytest

from manageboot import config
from manageboot.boot import fallback
from manageboot.boot.fallback import Cause
from manageboot.boot.node import observe
from manageboot.upgrade import verbs
from support.images import make_update
from support.loop import run
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
    verbs.arrive(config.load(str(node.config)))


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
def test_it_was_aborted(committed: LoopNode, because: str, expected: Cause):
    start_trial(committed)
    arrived(committed)
    committed.ok("rollback", "--no-reboot", "--because", because)
    fall_back(committed, "unconfirmed")
    assert cause(committed) == expected


@pytest.mark.parametrize("because", ["by_hand", "unhealthy", "deadline"])
def test_a_trial_that_was_aborted_is_not_confirmed_any_more(committed: LoopNode, because: str):
    start_trial(committed)
    committed.ok("rollback", "--no-reboot", "--because", because)
    before = committed.grubenv.read_bytes()
    done = committed.run("confirm")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"warning: nothing is confirmed: the trial of slot B was aborted ({because})" in done.stderr
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
    boot(committed, "A", fault="unwritable", nonce=committed.block()["mb_nonce"])
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


def there_and_back(node: LoopNode, homes: dict[str, Path]) -> None:
    """Confirm B, go back to A, confirm that; each slot with the directory of its records."""
    for slot in "BA":
        if slot == "A":
            use(node, homes["B"])
            node.ok("rollback", "--no-reboot")
        try_slot(node, slot)
        use(node, homes[slot])
        node.ok("confirm")
        boot(node, slot)


def use(node: LoopNode, records: Path) -> None:
    node.state = records
    node.write_config()


def try_slot(node: LoopNode, slot: str) -> None:
    """Do what GRUB does with the first try of a slot."""
    nonce = node.block()["mb_nonce"]
    node.set_block(boot_cycle="failsafe_check", mb_ack=nonce, mb_tried="1")
    run("grub-editenv", node.grubenv, "unset", "mb_trial", "mb_fallback")
    boot(node, slot, nonce=nonce)


@pytest.fixture(params=["apart", "shared"])
def homes(request: pytest.FixtureRequest, committed: LoopNode) -> dict[str, Path]:
    """The directories of records of both slots."""
    shared = request.param == "shared"
    return {"A": committed.state, "B": committed.state if shared else committed.directory / "state-b"}


@pytest.mark.parametrize("because", ["", "by_hand", "deadline", "unhealthy"])
def test_what_became_of_a_rollback_is_told_as_of_a_commit(committed: LoopNode, homes: dict[str, Path], because: str):
    """The record of slot A knows of the commit that first tried B, which was confirmed long ago."""
    there_and_back(committed, homes)
    committed.ok("rollback", "--no-reboot")
    assert cause(committed) is None
    try_slot(committed, "B")
    use(committed, homes["B"])
    if because:
        committed.ok("rollback", "--no-reboot", "--because", because)
    use(committed, homes["A"])
    fall_back(committed, "unconfirmed")
    expected = {
        "": Cause.DIED_EARLY,
        "by_hand": Cause.BY_HAND,
        "deadline": Cause.DEADLINE,
        "unhealthy": Cause.UNHEALTHY,
    }
    assert committed.status()["fallback"] == {"slot": "B", "cause": expected[because]}
    committed.ok("confirm")
    told = json.loads(committed.ok("history", "--json"))["entries"]
    assert [entry["cause"] for entry in told if entry["event"] == "fallback"] in ([], [expected[because]])


def test_a_confirm_and_a_cancel_end_what_belongs_to_a_commit(committed: LoopNode, homes: dict[str, Path]):
    there_and_back(committed, homes)
    marks = {"nonce", "committed_in"}
    assert not any(marks & set(slot["record"] or {}) for slot in committed.status()["slots"].values())
    committed.ok("rollback", "--no-reboot")
    assert committed.status()["slots"]["B"]["record"]["nonce"] == committed.block()["mb_nonce"]
    committed.ok("upgrade-cancel")
    assert not any(marks & set(slot["record"] or {}) for slot in committed.status()["slots"].values())


def test_a_record_of_an_earlier_version_keeps_no_cause_back(committed: LoopNode):
    """It still has the word and the boot of the commit before, in a slot that was confirmed since."""
    start_trial(committed)
    committed.ok("rollback", "--no-reboot", "--because", "deadline")
    path = committed.state / "record.json"
    stored = json.loads(path.read_text())
    stored["slots"]["B"] |= {"state": "confirmed", "nonce": "12345678", "committed_in": "another-boot"}
    path.write_text(json.dumps(stored))
    fall_back(committed, "unconfirmed")
    assert cause(committed) == Cause.DEADLINE


def test_a_commit_whose_record_was_lost_is_told_all_the_same(committed: LoopNode, tmp_path: Path):
    path = committed.state / "record.json"
    stored = json.loads(path.read_text())
    stored["slots"]["B"] |= {"state": "installed", "nonce": "12345678"}
    del stored["slots"]["B"]["committed_in"]
    path.write_text(json.dumps(stored))
    assert committed.record("B") == "installed"
    start_trial(committed)
    fall_back(committed, "unconfirmed")
    assert cause(committed) == Cause.DIED_EARLY
    # What is installed then ends it.
    committed.ok("upgrade-install", make_update(tmp_path / "again"))
    assert cause(committed) is None


def test_what_grub_said_of_one_commit_does_not_count_for_the_next(committed: LoopNode):
    boot(committed, "A", fault="unwritable", nonce=committed.block()["mb_nonce"])
    assert cause(committed) == Cause.NEVER_STARTED
    committed.ok("upgrade-cancel")
    committed.ok("upgrade-commit", "--no-reboot")
    assert cause(committed) is None


def test_a_commit_that_waits_while_somebody_chose_a_slot_is_no_fallback(committed: LoopNode):
    path = committed.state / "record.json"
    stored = json.loads(path.read_text())
    stored["slots"]["B"]["committed_in"] = "another-boot"
    path.write_text(json.dumps(stored))
    boot(committed, "A", fault="menu")
    assert cause(committed) is None
    boot(committed, "A")
    assert cause(committed) == Cause.NEVER_STARTED


def test_a_boot_without_a_name_proves_nothing(committed: LoopNode):
    seen = observe(config.load(str(committed.config)))
    assert fallback.detect(seen._replace(boot_id=None)) is None
    told = fallback.detect(seen._replace(boot_id="another"))
    assert told is not None
    assert told.cause == Cause.NEVER_STARTED


def test_a_rollback_by_a_stock_script_tells_what_the_agent_left(node: LoopNode, tmp_path: Path):
    node.ok("upgrade-install", make_update(tmp_path / "update"))
    node.ok("upgrade-commit", "--no-reboot")
    node.boot()
    node.ok("confirm")
    node.ok("rollback", "--no-reboot")
    assert cause(node) is None
    node.boot()
    arrived(node)
    node.boot()
    assert node.status()["fallback"] == {"slot": "A", "cause": Cause.DIED_LATER}


def test_a_later_commit_without_a_word_is_told_by_what_the_agent_left(committed: LoopNode):
    """As from outside, or by a stock agent, after a fallback: GRUB takes away what an earlier trial left."""
    start_trial(committed)
    fall_back(committed, "unconfirmed")
    committed.set_block(boot_alternative="B", boot_cycle="failsafe_check")
    run("grub-editenv", committed.grubenv, "unset", "mb_nonce", "mb_fallback", "mb_tried")
    boot(committed, "B")
    arrived(committed)
    committed.set_block(boot_alternative="A", boot_cycle="stable")
    boot(committed, "A")
    assert cause(committed) == Cause.DIED_LATER
    committed.cmdline.write_text("dfinity.system=A\n")
    assert cause(committed) == Cause.UNKNOWN
