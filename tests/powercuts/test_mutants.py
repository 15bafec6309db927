"""The campaign can fail: each fault in the agent has its place, and is found; without one nothing is."""

import pytest

from powercuts.faults import MUTANTS, text_of
from powercuts.mutants import judged


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_fault_still_has_its_place(mutant):
    compile(text_of(mutant, is_faulty=True), mutant.file, "exec")


@pytest.mark.long
@pytest.mark.qemu
def test_each_fault_is_found():
    found = {violation.step for result in judged(MUTANTS) for violation in result.violations}
    assert found == {mutant.name for mutant in MUTANTS}


@pytest.mark.long
@pytest.mark.qemu
def test_without_a_fault_nothing_is_found():
    assert [violation for result in judged(()) for violation in result.violations] == []
