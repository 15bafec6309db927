"""The walk at a small depth, and faults that it has to find. `make check-protocol` goes deeper and tries all faults."""

from itertools import product
from pathlib import Path

import pytest

import manageboot
from protocol import walk
from protocol.mutants import MUTANTS, caught
from protocol.start import starts
from protocol.truth import LATE
from protocol.walk import Way
from support.blocks import PHASES

pytestmark = pytest.mark.grub

BARE = (None, ("good", "good"))
"""No block, and two whole systems."""


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what GRUB answered is kept, so that no other walk with the shipped script asks the same again."""
    return tmp_path_factory.mktemp("walk") / "memory"


@pytest.fixture(scope="module")
def walked(memory: Path) -> walk.Result:
    """The first walk, which remembers nothing yet."""
    return walk.run(Way(tries=2), depth=3, seconds=300, memory=memory)


def test_the_shipped_script_holds_every_rule(walked: walk.Result):
    result = walked
    assert result.violations == []
    assert (result.depth, result.states > 1000, result.grub_runs > 100) == (3, True, True)
    assert result.cells == set(product(set(walk.VERBS) - {"arrived", "deadline"}, PHASES))


@pytest.mark.usefixtures("each_grub")
def test_every_rule_holds_with_grub_of_each_release():
    result = walk.run(Way(tries=2), depth=2, seconds=300)
    assert result.broken == []
    assert (result.depth, result.grub_runs > 50) == (2, True)


@pytest.mark.parametrize(
    "way",
    [Way(mishaps=0), Way(shared=True, mishaps=0), Way(walk.STOCK, mishaps=0, direct=True)],
    ids=str,
)
@pytest.mark.usefixtures("walked")
def test_from_slot_to_slot_and_back_the_cause_of_every_fallback_is_told(way: Way, memory: Path):
    """Without mishaps, a walk from one start ends where there is nothing new."""
    begin = next(state for state in starts(shipped=way.shipped, shared=way.shared) if state.records != ("", ""))
    known = memory if way.shipped else None
    result = walk.run(way, depth=40, seconds=300, begin=[begin], memory=known)
    assert result.broken == []
    assert (result.complete, result.depth > 12, result.states > 200) == (True, True, True)


def test_a_commit_that_is_run_again_after_grub_passed_it_over_was_never_started():
    """Its record was cut off, so what the verb does the second time is noted as if it were the first."""
    layer = [state for state in starts(shipped=True, shared=False) if (state.block, state.contents) == BARE]
    for event in ("slot B by the menu", "upgrade-install", "upgrade-commit, power cut after step 2",
                  "GRUB, its write fails", "upgrade-commit"):  # fmt: skip
        layer = walk.follow(Way(), layer, event)
    assert LATE in {state.truth.stage for state in layer if state.truth}
    assert walk.run(Way(mishaps=0), depth=1, seconds=60, begin=layer).violations == []


@pytest.mark.parametrize("way", [Way(walk.STOCK), Way(walk.STOCK, direct=True)], ids=str)
def test_what_other_boot_loaders_cannot_hold_is_what_the_document_says(way: Way):
    result = walk.run(way, depth=3, seconds=300)
    assert {violation.rule for violation in result.violations} == way.cannot_hold
    assert (result.broken, len(way.cannot_hold) > 1, result.states > 500) == ([], True, True)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_fault_still_has_its_place(mutant):
    package = Path(manageboot.__path__[0])
    assert (package / mutant.file).read_text().count(mutant.old) == 1


@pytest.mark.parametrize(
    "name", ["confirm in the old slot cancels the commit", "save_env is not checked", "next forgets failsafe_check"]
)
@pytest.mark.usefixtures("walked")
def test_a_fault_is_found(name: str, tmp_path: Path, memory: Path):
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    assert caught(mutant, tmp_path, memory)
