"""Whether a node's turn has come: its own place, against the share that was signed."""

from pathlib import Path

import pytest

from manageboot.channel import clock, turn
from manageboot.channel.kept import Kept
from manageboot.release import rollout
from manageboot.release.rollout import WHOLE, Rollout

SHA256 = "ab" * 32
OWN = "0123456789abcdef" * 2


@pytest.fixture
def machine_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "machine-id"
    monkeypatch.setattr(turn, "_MACHINE_ID", str(path))
    return path


def test_a_node_is_in_from_its_own_place_on(machine_id: Path):
    machine_id.write_text(f"{OWN}\n")
    place = rollout.place(OWN, SHA256)
    assert turn.of(Rollout(place), SHA256, 0) == (place, place)
    assert not turn.of(Rollout(place), SHA256, 0).has_come
    assert turn.of(Rollout(place + 1), SHA256, 0).has_come


@pytest.mark.parametrize("content", [None, "", "uninitialized\n", "x" * 300, "0" * 31, "\xff" * 32])
def test_a_node_without_an_identity_comes_last(machine_id: Path, content: str | None):
    if content is not None:
        machine_id.write_text(content, encoding="latin-1")
    assert turn.of(None, SHA256, 0).has_come
    assert turn.of(Rollout(WHOLE), SHA256, 0).has_come
    assert not turn.of(Rollout(WHOLE - 1), SHA256, 0).has_come


def test_a_clock_that_is_behind_counts_as_what_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clock, "_CLOCK_EPOCH", str(tmp_path / "none"))
    monkeypatch.setattr("time.time", lambda: 1000.9)
    assert clock.now(None, Kept()) == 1000
    assert clock.now(None, Kept(built=2000)) == 2000
    monkeypatch.setattr("time.time", lambda: 3000.0)
    assert clock.now(None, Kept(built=2000)) == 3000
