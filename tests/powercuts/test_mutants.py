"""The campaign can fail: each fault in the agent has its place, and is found; without one nothing is."""

import pytest

from powercuts.mutants import MUTANTS, ROOT, caught, changed, control


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_fault_still_has_its_place(mutant):
    compile(changed(ROOT / mutant.file, mutant.old, mutant.new), mutant.file, "exec")


@pytest.mark.long
@pytest.mark.qemu
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_fault_is_found(mutant):
    assert caught(mutant).violations


@pytest.mark.long
@pytest.mark.qemu
@pytest.mark.parametrize("is_var_in_memory", [False, True])
def test_without_a_fault_nothing_is_found(is_var_in_memory: bool):
    assert control(is_var_in_memory=is_var_in_memory).violations == []
