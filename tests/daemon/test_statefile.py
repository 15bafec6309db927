"""What the daemon leaves for others and for the next daemon: it has to be read back, whatever the checks printed."""

import logging
from pathlib import Path
from typing import Any

import pytest

from manageboot.daemon import statefile
from manageboot.daemon.memory import Memory
from manageboot.daemon.observation import Observation
from manageboot.daemon.statefile import Shown, StateFile, summarize
from manageboot.protocol import BlockState, BootState, Cycle, Slot

MEMORY = Memory(arrived=True, damage_told=True, waits_since_s=12.5)
WIDE = "\N{GRINNING FACE}"
"""JSON takes twelve bytes for it."""


def shown(checks: int, text: str) -> Shown:
    found: list[dict[str, Any]] = [
        {"name": f"wanted/{number}", "required": False, "result": "failed", "text": text} for number in range(checks)
    ]
    return Shown("trial: all good", 900.0, {"verdict": "good", "doing": "", "checks": found}, {"/dev/vda4": "gone"})


def test_what_is_short_comes_back_as_it_was(tmp_path: Path):
    assert statefile.store(str(tmp_path), MEMORY, shown(3, "exit status 1"))
    assert statefile.load(str(tmp_path)) == (MEMORY, shown(3, "exit status 1"))


@pytest.mark.parametrize("checks", [25, 100, 300])
def test_long_texts_are_cut_and_the_rest_comes_back(tmp_path: Path, checks: int):
    assert statefile.store(str(tmp_path), MEMORY, shown(checks, WIDE * 2000))
    memory, found = statefile.load(str(tmp_path))
    assert (memory, found.status, found.devices) == (MEMORY, "trial: all good", {"/dev/vda4": "gone"})
    assert found.health is not None
    texts = [check["text"] for check in found.health["checks"]]
    assert len(texts) == checks
    assert all(text.startswith(WIDE) and text.endswith("...") for text in texts)


def test_what_is_remembered_outlives_what_is_shown(tmp_path: Path):
    assert statefile.store(str(tmp_path), MEMORY, shown(10_000, WIDE * 2000))
    assert statefile.load(str(tmp_path)) == (MEMORY, Shown())


def test_it_says_where_it_could_not_be_written(tmp_path: Path):
    assert not statefile.store(str(tmp_path / "there-is-none"), MEMORY, Shown())


def test_what_could_not_be_written_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    run_directory = tmp_path / "run"
    file = StateFile(str(run_directory), Shown())
    # The directory is missing.
    for memory in (Memory(), Memory(), Memory(arrived=True)):
        file.store(memory)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == [f"cannot write {run_directory}/daemon.json: `status` and the next daemon are behind"]
    run_directory.mkdir()
    # Nothing has changed since.
    file.store(Memory(arrived=True))
    assert statefile.load(str(run_directory))[0] == Memory(arrived=True)
    (run_directory / "daemon.json").unlink()
    # What is there already is not written again and again.
    file.store(Memory(arrived=True))
    assert not (run_directory / "daemon.json").exists()


IDLE = Observation(BootState(Slot.A, BlockState(Slot.A, Cycle.STABLE)))
TRIAL = Observation(BootState(Slot.B, BlockState(Slot.B, Cycle.FAILSAFE_CHECK)))
PENDING = Observation(BootState(Slot.A, BlockState(Slot.B, Cycle.FIRST_BOOT)))
UNREADABLE = Observation(None, "cannot read /boot/grub/grubenv: it is damaged", damaged=True)
NOTHING = Shown()
HEALTH = {"verdict": "good", "doing": "", "checks": []}


def described(seen: Observation, memory: Memory = MEMORY, *, before: Shown = NOTHING, **others: Any) -> Shown:
    return summarize(before, seen, memory, **{"deadline_s": 900, "doing": "", "health": None, **others})


def test_a_trial_is_described_with_what_it_waits_for():
    assert described(IDLE).status == "slot A is booted and trusted"
    assert described(IDLE, doing="running required/dns").status == "slot A is booted and trusted"
    assert described(TRIAL, doing="running required/dns").status.endswith("; running required/dns")
    assert described(TRIAL._replace(inhibited=True)).status.endswith("; on hold")
    assert described(UNREADABLE).status == UNREADABLE.problem


def test_a_deadline_is_shown_where_there_is_one():
    assert [described(seen).deadline_s for seen in (IDLE, PENDING, UNREADABLE, TRIAL)] == [None, None, None, 900.0]
    assert described(UNREADABLE, MEMORY._replace(tried=True)).deadline_s == 900.0
    assert described(TRIAL, deadline_s=0).deadline_s is None


def test_a_reboot_that_did_not_come_is_shown_once_that_was_told():
    assert not described(PENDING).overdue
    told = MEMORY._replace(overdue_told=True)
    assert described(PENDING, told).overdue
    assert not described(IDLE, told).overdue


def test_results_and_devices_stay_until_there_are_others():
    before = Shown(health=HEALTH, devices={"slots.A.root": "gone"})
    assert described(TRIAL, before=before)[2:4] == (HEALTH, {"slots.A.root": "gone"})
    other = {**HEALTH, "verdict": "running"}
    assert described(TRIAL, before=before, health=other)[2:4] == (other, {"slots.A.root": "gone"})
