"""The verbs on a node of loop devices, through the real command line."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from manageboot.boot.header import HEADER_BYTES
from support.images import make_update
from support.node import BLOCK_LINES, LoopNode

pytestmark = pytest.mark.devices


@pytest.fixture
def update(tmp_path: Path) -> Path:
    return make_update(tmp_path / "update")


def test_a_whole_upgrade(node: LoopNode, update: Path):
    assert node.ok("upgrade-install", update) == ""
    assert node.record("B") == "installed"
    assert node.ok("upgrade-commit", "--no-reboot") == ""
    assert not node.reboots.exists()
    # All other names, comments and the order are kept.
    expected = BLOCK_LINES.replace("boot_alternative=A", "boot_alternative=B").replace("=stable", "=first_boot")
    assert node.grubenv.read_bytes() == expected.encode().ljust(1024, b"#")
    assert node.status()["state"] == "pending"
    assert node.boot() == "B"
    assert node.status()["state"] == "trial"
    node.ok("confirm")
    assert node.block()["boot_cycle"] == "stable"
    assert node.boot() == "B"
    assert [node.record(slot) for slot in "AB"] == ["confirmed", "confirmed"]


def test_a_trial_that_nobody_confirms_falls_back(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit")
    assert node.reboots.read_text() == "r"
    assert [node.boot(), node.boot(), node.boot()] == ["B", "A", "A"]
    status = node.status()
    assert (status["state"], [problem["code"] for problem in status["problems"]]) == ("idle", ["FELL_BACK"])
    line = node.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")
    assert "slot B: it was committed before and did not stay" in line
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")


def test_commit_twice_writes_once_and_reboots_again(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit")
    before = node.grubenv.stat().st_mtime_ns
    node.ok("upgrade-commit")
    assert node.grubenv.stat().st_mtime_ns == before
    assert node.reboots.read_text() == "rr"


def void_head(node: LoopNode, slot: str) -> None:
    """Do what an installation does first, which the record of this system does not know of."""
    with open(node.devices[slot]["boot"], "r+b") as device:
        device.write(bytes(HEADER_BYTES))


def test_a_slot_that_was_voided_from_outside_is_not_committed(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    void_head(node, "B")
    before = node.grubenv.read_bytes()
    line = node.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")
    assert node.devices["B"]["boot"] in line
    assert node.grubenv.read_bytes() == before
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")


def test_a_slot_that_was_voided_from_outside_is_not_gone_back_to(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")
    assert node.boot() == "B"
    node.ok("confirm")
    void_head(node, "A")
    node.fails("rollback", "--no-reboot", status=69, code="NOTHING_INSTALLED")
    assert node.boot() == "B"


def test_commit_needs_an_installation(node: LoopNode):
    node.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")
    assert node.grubenv.read_bytes() == BLOCK_LINES.encode().ljust(1024, b"#")


def test_a_commit_whose_record_was_lost_is_completed_by_committing_again(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    # A power cut between the block and the record.
    node.set_block(boot_alternative="B", boot_cycle="first_boot")
    node.ok("upgrade-commit", "--no-reboot")
    assert node.record("B") == "committed"


def test_a_cancel_that_was_cut_short_is_completed_by_cancelling_again(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")
    before = node.grubenv.read_bytes()
    node.ok("upgrade-cancel")
    # A power cut between the record and the block.
    node.grubenv.write_bytes(before)
    node.ok("upgrade-cancel")
    assert (node.block()["boot_cycle"], node.record("B")) == ("stable", "installed")


def test_a_confirm_that_was_cut_short_is_completed_by_confirming_again(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")
    node.boot()
    # A power cut between the block and the record.
    node.set_block(boot_cycle="stable")
    assert node.record("B") == "committed"
    node.ok("confirm")
    assert [node.record(slot) for slot in "AB"] == ["confirmed", "confirmed"]


def test_a_confirm_that_is_completed_late_says_nothing_of_what_was_installed_since(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")
    node.boot()
    node.set_block(boot_cycle="stable")
    node.ok("upgrade-install", update)
    node.ok("confirm")
    assert [node.record(slot) for slot in "AB"] == ["installed", "confirmed"]
    node.ok("upgrade-commit", "--no-reboot")
    assert node.block()["boot_alternative"] == "A"


@pytest.mark.parametrize("verb", ["upgrade-commit", "confirm"])
def test_a_signal_after_the_block_is_written_changes_nothing(node: LoopNode, update: Path, verb: str):
    node.ok("upgrade-install", update)
    if verb == "confirm":
        node.ok("upgrade-commit", "--no-reboot")
        node.boot()
    at_the_record = ["-P", str(node.state / "record.json.new"), "-e", "inject=rename:signal=TERM"]
    inject = ["strace", "-f", "-o", "/dev/null", *at_the_record]
    done = subprocess.run([*inject, *node.command(verb)], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert node.record("B") == {"upgrade-commit": "committed", "confirm": "confirmed"}[verb]


def test_a_half_written_slot_is_not_rebooted_into(node: LoopNode):
    """Somebody armed the slot by hand while an installation was on its way."""
    node.state.mkdir()
    (node.state / "record.json").write_text('{"schema": 1, "slots": {"B": {"state": "installing"}}}')
    node.set_block(boot_alternative="B", boot_cycle="first_boot")
    node.fails("upgrade-commit", status=69, code="COMMIT_PENDING")
    assert not node.reboots.exists()


def test_confirm_in_the_old_slot_changes_nothing(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")
    before = node.grubenv.read_bytes()
    done = node.run("confirm")
    assert (done.returncode, done.stdout) == (0, "")
    assert "warning: nothing is confirmed: slot B is committed" in done.stderr
    assert node.grubenv.read_bytes() == before


def test_confirm_of_a_trusted_slot_writes_nothing_and_takes_no_lock(node: LoopNode):
    with holding_lock(node):
        node.ok("confirm")
    assert not node.state.exists()


def test_confirm_turns_install_into_stable(node: LoopNode):
    node.set_block(boot_cycle="install")
    node.ok("confirm")
    assert node.block()["boot_cycle"] == "stable"


def test_confirm_reports_that_grub_could_not_record_the_try(node: LoopNode):
    node.set_block(boot_alternative="B", boot_cycle="first_boot")
    node.set_booted("B")
    assert [problem["code"] for problem in node.status()["problems"]] == ["GRUB_DID_NOT_WRITE"]
    assert "that it started the trial; without a confirm GRUB would start it for ever" in node.run("confirm").stderr
    assert node.block()["boot_cycle"] == "stable"


def test_sixty_confirms_side_by_side(node: LoopNode):
    node.set_block(boot_alternative="B", boot_cycle="failsafe_check")
    node.set_booted("B")
    runs = [subprocess.Popen(node.command("confirm"), stderr=subprocess.PIPE) for _ in range(60)]
    assert [run.communicate()[1] and run.returncode for run in runs] == [0] * 60
    assert node.block()["boot_cycle"] == "stable"


def test_cancel_goes_back_step_by_step(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")
    node.ok("upgrade-cancel")
    assert (node.block()["boot_alternative"], node.block()["boot_cycle"]) == ("A", "stable")
    assert node.record("B") == "installed"
    node.ok("upgrade-cancel")
    assert node.record("B") == "void"
    assert "nothing to cancel" in node.run("upgrade-cancel").stderr
    node.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")


def test_in_a_trial_the_way_back_is_not_touched(node: LoopNode, update: Path):
    node.set_block(boot_alternative="B", boot_cycle="failsafe_check")
    node.set_booted("B")
    before = node.device_bytes("A", "boot")
    for verb in (["upgrade-install", update], ["upgrade-commit"], ["upgrade-cancel"]):
        node.fails(*verb, status=69, code="ON_TRIAL")
    assert node.device_bytes("A", "boot") == before


def test_rollback_aborts_a_trial(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit")
    assert node.boot() == "B"
    node.ok("rollback")
    assert node.reboots.read_text() == "rr"
    assert [node.boot(), node.boot()] == ["A", "A"]


def test_a_rollback_with_a_cause_is_of_a_trial_only(node: LoopNode, update: Path):
    """Somebody may confirm it just before; to go back from there is a decision of its own."""
    before = node.grubenv.read_bytes()
    line = node.fails("rollback", "--because", "deadline", status=69, code="NOT_ON_TRIAL")
    assert "cannot abort: slot A is booted and trusted" in line
    assert node.grubenv.read_bytes() == before
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")
    node.fails("rollback", "--because", "unhealthy", status=69, code="NOT_ON_TRIAL")
    assert node.boot() == "B"
    node.ok("rollback", "--because", "deadline")
    assert node.boot() == "A"


def test_rollback_aborts_a_trial_that_grub_did_not_record(node: LoopNode):
    node.set_block(boot_alternative="B", boot_cycle="first_boot")
    node.set_booted("B")
    node.ok("rollback", "--no-reboot")
    assert node.block()["boot_cycle"] == "failsafe_check"
    assert node.boot() == "A"


def test_rollback_arms_the_confirmed_slot_on_trial(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")
    node.boot()
    node.ok("confirm")
    node.ok("rollback", "--no-reboot")
    node.ok("rollback")
    assert node.reboots.read_text() == "r"
    assert node.boot() == "A"
    assert node.status()["state"] == "trial"
    # Nobody confirms: slot B is still the trusted one.
    assert node.boot() == "B"


def test_rollback_needs_a_confirmed_slot(node: LoopNode, update: Path):
    node.fails("rollback", status=69, code="NO_WAY_BACK")
    node.ok("upgrade-install", update)
    node.fails("rollback", status=69, code="NO_WAY_BACK")
    node.ok("upgrade-commit", "--no-reboot")
    node.fails("rollback", status=69, code="COMMIT_PENDING")


def test_queries(node: LoopNode):
    assert [node.ok(verb) for verb in ("current", "target", "next")] == ["A\n", "B\n", "A\n"]
    for name in ("current_partition", "current-root", "current_root"):
        assert node.ok(name) == node.devices["A"]["root"] + "\n"
    for name in ("target_partition", "target-root", "target_root"):
        assert node.ok(name) == node.devices["B"]["root"] + "\n"
    node.set_block(boot_alternative="B", boot_cycle="first_boot")
    assert [node.ok(verb) for verb in ("current", "target", "next")] == ["A\n", "B\n", "B\n"]
    node.set_booted("B")
    node.set_block(boot_cycle="failsafe_check")
    assert [node.ok(verb) for verb in ("current", "target", "next")] == ["B\n", "A\n", "A\n"]


@pytest.fixture
def open_node() -> Iterator[LoopNode]:
    """A node that every user finds; each run of pytest closes the directory in which its tests have theirs."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        with LoopNode(Path(directory)) as node:
            yield node


def test_queries_need_no_root_and_leave_no_trace(open_node: LoopNode):
    node = open_node
    before = sorted(node.directory.rglob("*"))
    for verb in ("current", "target", "next", "current_partition", "status"):
        node.ok(verb, user="nobody", env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert sorted(node.directory.rglob("*")) == before
    node.fails("upgrade-commit", status=77, code="NOT_PERMITTED", user="nobody")


def test_a_reboot_that_fails_is_reported_as_armed(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    text = node.config.read_text()
    lines = [
        line if not line.startswith("reboot_command") else 'reboot_command = ["false"]' for line in text.splitlines()
    ]
    node.config.write_text("\n".join(lines))
    done = node.run("upgrade-commit")
    assert done.returncode == 74
    assert done.stderr.endswith("reboot by other means, or use upgrade-cancel\n")
    assert "cannot reboot: `false` exited with 1 [ARMED_NOT_REBOOTED]" in done.stderr
    assert (node.block()["boot_cycle"], node.record("B")) == ("first_boot", "committed")


def test_one_writer_at_a_time(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    with holding_lock(node):
        line = node.fails("upgrade-install", update, status=75, code="LOCKED")
        assert "pid-of-the-test upgrade-install" in line
        node.fails("upgrade-commit", status=75, code="LOCKED")
        assert node.status()["running"] == "pid-of-the-test upgrade-install"
    assert node.status()["running"] is None
    node.ok("upgrade-commit", "--no-reboot")


def test_a_state_directory_that_cannot_be_written_does_not_undo_a_confirm(node: LoopNode):
    node.state.write_text("a file where the directory should be")
    node.set_block(boot_alternative="B", boot_cycle="failsafe_check")
    node.set_booted("B")
    done = node.run("confirm")
    assert done.returncode == 0
    assert "the record is not written, only the environment block" in done.stderr
    assert node.block()["boot_cycle"] == "stable"


def test_a_damaged_record_is_reported_and_replaced_by_the_next_installation(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    (node.state / "record.json").write_text("{")
    assert [problem["code"] for problem in node.status()["problems"]] == ["RECORD_DAMAGED"]
    node.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")


@contextmanager
def holding_lock(node: LoopNode) -> Iterator[None]:
    """Let another program hold the lock."""
    node.lock.parent.mkdir(exist_ok=True)
    node.lock.write_text("pid-of-the-test upgrade-install\n")
    with subprocess.Popen(["flock", node.lock, "cat"], stdin=subprocess.PIPE) as holder:
        deadline = time.monotonic() + 60
        while subprocess.run(["flock", "--nonblock", node.lock, "true"], check=False).returncode == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield
        holder.communicate()
