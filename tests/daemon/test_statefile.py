"""What the daemon leaves for others and for the next daemon: it has to be read back, whatever the checks printed."""

from pathlib import Path
from typing import Any

import pytest

from manageboot.daemon import statefile
from manageboot.daemon.memory import Memory
from manageboot.daemon.statefile import Shown

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
