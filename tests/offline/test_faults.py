"""The trusted slot is overwritten, and a disk fails: a selection of what `python -m offline.crash` goes through."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from offline.crashguest import CrashGuest, crash_guest, without_header
from support.campaign import Case

pytestmark = [pytest.mark.devices, pytest.mark.grub]

WRITE = "write disk"
"""The first is to the block, the second to the second block, and the third to the slot."""


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashGuest]:
    with crash_guest(tmp_path_factory.mktemp("crash") / "stable") as made:
        yield made


def test_grub_trusts_the_other_slot_before_this_one_is_written(guest: CrashGuest):
    """The record is void; then block and second block are on the disk; and then the first byte goes."""
    events = guest.count_events()
    block, second, slot = [at for at, event in enumerate(events) if event == WRITE][:3]
    assert "flush record" in events[events.index("write record") : block]
    assert "flush disk" in events[block:second]
    assert "flush disk" in events[second:slot]


@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        (Case(1, "cut", WRITE), "untouched"),
        (Case(2, "cut", WRITE), "untouched"),
        (Case(3, "cut", WRITE), "void"),
        (Case(None, "lost"), "complete"),
    ],
)
def test_grub_boots_a_whole_system_after_a_fault(guest: CrashGuest, case: Case, outcome: str):
    assert guest.run_case(case) == outcome


def test_so_it_does_after_a_trial_that_was_given_up(tmp_path: Path):
    with crash_guest(tmp_path / "given-up", "given-up") as guest:
        assert guest.run_case(Case(1, "cut", WRITE)) == "untouched"


def test_the_judge_finds_a_slot_that_was_written_before(guest: CrashGuest):
    guest.reset()
    before = guest.found()
    assert guest.judge(before) == "untouched"
    with pytest.raises(AssertionError, match="void"):
        guest.judge(without_header(before))
