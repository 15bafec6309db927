"""How a run ended, as the next one reads it, and how long a failed installation waits."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from manageboot.unattended import lastrun
from manageboot.unattended.decision import Result
from manageboot.unattended.lastrun import LastRun
from manageboot.unattended.memory import Known

RELEASE, OTHER = Known("1.5", 5, "ab" * 32), Known("1.6", 6, "cd" * 32)


@pytest.fixture
def config(tmp_path: Path) -> Any:
    """All that the file asks of the settings."""
    return SimpleNamespace(state=SimpleNamespace(runtime_directory=str(tmp_path)))


def test_what_is_stored_is_read(config: Any):
    for last in (
        LastRun(Result.BUSY, "", 0),
        LastRun(Result.FAILED, "cannot", 7, 6, "IO_ERROR", RELEASE, 8, 9, 2, 10),
    ):
        lastrun.store(config, last)
        assert lastrun.load(config) == last


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"result": "unheard-of", "text": "", "ran": 1, "failures": 0}',
     '{"result": "busy", "text": "", "ran": null, "failures": 0}',
     '{"result": "busy", "text": "", "ran": -1, "failures": 0}',
     '{"result": "busy", "text": "", "ran": 4503599627370496, "failures": 0}',
     '{"result": "busy", "text": 1, "ran": 1, "failures": 0}',
     '{"result": "busy", "text": "", "ran": 1, "failures": 0, "release": {"version": "1"}}'],
)  # fmt: skip
def test_what_no_run_has_written_counts_as_none(config: Any, tmp_path: Path, content: str):
    (tmp_path / "update.json").write_text(content)
    assert lastrun.load(config) is None


def test_a_failed_installation_waits_longer_each_time_and_a_day_at_most():
    last = LastRun(Result.BUSY, "", 0)
    waits = []
    for ran in range(0, 100_000, 10_000):
        last = LastRun(Result.FAILED, "", ran, release=RELEASE).with_failure(last)
        assert last.again is not None
        waits.append(last.again - ran)
        assert last.is_too_early(RELEASE, last.again - 1) and not last.is_too_early(RELEASE, last.again)
        # Another release need not wait, and nobody waits for a clock that was set back.
        assert not last.is_too_early(OTHER, ran)
        assert not last.is_too_early(RELEASE, ran - 100_000)
    assert waits[:3] == [3000, 6000, 12_000]
    assert waits[-1] == 86_400
    assert LastRun(Result.FAILED, "", 0, release=OTHER).with_failure(last).failures == 1
