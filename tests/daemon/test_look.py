"""What the daemon sees of a node. A look only looks: it writes nothing, takes no lock, and never fails."""

from pathlib import Path

import pytest

from manageboot import config
from manageboot.boot.markers import TrialMarker
from manageboot.daemon import children
from manageboot.daemon.look import look_at
from manageboot.daemon.observation import Observation
from manageboot.protocol import Phase
from manageboot.system import lock
from support.daemonnode import DaemonNode
from support.mounts import hanging

pytestmark = pytest.mark.grub

PATIENCE_S = 10.0


@pytest.fixture
def node(tmp_path: Path) -> DaemonNode:
    return DaemonNode(tmp_path)


def seen(node: DaemonNode, *, tried: bool = False, over: bool = False, repeated: bool = False) -> Observation:
    return look_at(config.load(str(node.config)), tried=tried, over=over, repeated=repeated)


@pytest.mark.parametrize("trial", ["", *TrialMarker])
def test_it_tells_a_trial_that_was_aborted(node: DaemonNode, trial: str):
    node.start_trial()
    node.set_block(mb_trial=trial)
    found = seen(node)
    assert (found.phase, found.aborted) == (Phase.TRIAL, trial in {"by_hand", "unhealthy", "deadline"})
    assert (found.grub_starts_trial, found.may_be_stale, found.repeats, found.problem) == (True, False, False, "")


def test_what_another_script_left_may_be_of_an_earlier_trial(node: DaemonNode):
    node.start_trial_by_another_script(mb_trial="deadline")
    assert (seen(node).aborted, seen(node).may_be_stale, seen(node).grub_starts_trial) == (True, True, False)
    # It was in this boot.
    node.manageboot("rollback", "--no-reboot")
    assert (seen(node).aborted, seen(node).may_be_stale) == (True, False)


def test_a_trial_that_grub_would_start_again_is_known_when_its_block_is_lost(node: DaemonNode):
    node.start_trial()
    node.set_block(boot_cycle="first_boot")
    assert seen(node).repeats
    node.lose_block("damaged")
    for repeated in (False, True):
        found = seen(node, repeated=repeated)
        assert (found.phase, found.damaged, found.repeats) == (None, True, repeated)


@pytest.mark.parametrize("how", ["empty", "gone"])
def test_a_block_that_is_lost_says_something_only_where_there_was_no_trial(node: DaemonNode, how: str):
    node.lose_block(how)
    assert seen(node).phase is Phase.IDLE
    assert seen(node, tried=True, over=True).phase is Phase.IDLE
    lost = seen(node, tried=True)
    assert (lost.phase, "GRUB started a trial by it" in lost.problem, lost.damaged) == (None, True, False)


def test_a_person_at_work_is_seen(node: DaemonNode):
    assert not seen(node).inhibited
    node.manageboot("confirm", "--hold")
    assert seen(node).inhibited


@pytest.mark.parametrize("how", [None, "damaged", "gone"])
def test_it_changes_nothing_and_waits_for_nobody(node: DaemonNode, how: str | None):
    node.start_trial()
    if how is not None:
        node.lose_block(how)
    # The lock is there already, and somebody holds it.
    with lock.held(str(node.run_directory / "lock"), "upgrade-install"):
        before = snapshot(node.directory)
        seen(node, tried=True)
        assert snapshot(node.directory) == before


@pytest.mark.devices
def test_a_disk_of_the_records_that_hangs_keeps_nobody_waiting(node: DaemonNode):
    node.start_trial()
    (node.directory / "state").mkdir()

    def looks() -> int:
        found = seen(node)
        return 0 if (found.phase, found.problem) == (Phase.TRIAL, "") else 1

    with hanging(node.directory / "state"):
        assert children.within(PATIENCE_S, looks) == 0


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    """All files with their contents and their last change."""
    paths = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}
