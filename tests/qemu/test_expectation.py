"""The judge of the cycle: each of its witnesses can condemn a step."""

import dataclasses
from typing import Any

import pytest

from qemu_harness.cycle import Expectation, StepFailed
from qemu_harness.observation import Observation

EXPECTATION = Expectation(1, "B", "v2", "B", "stable", "idle", "-", "confirmed v2")
BOOTS = ["BdsDxe: starting Boot0001\nWelcome to GRUB!\nmanageboot: slot B, cycle stable\n"]


def status(**changes: Any) -> dict[str, Any]:
    records = {"A": {"record": None}, "B": {"record": {"state": "confirmed", "version": "v2", "boot": {}}}}
    return {"state": "idle", "booted": "B", "slots": records, **changes}


SEEN = Observation("B", "v2", "B_root", {"boot_alternative": "B", "boot_cycle": "stable"}, status())


def test_what_is_expected_passes() -> None:
    EXPECTATION.check(SEEN, BOOTS)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"slot": "A"}, "slot in /proc/cmdline: expected 'B', found 'A'"),
        ({"version": "v1"}, "version in version.txt: expected 'v2', found 'v1'"),
        ({"root": "A_root"}, "partition of /: expected 'B_root', found 'A_root'"),
        ({"variables": {"boot_alternative": "A", "boot_cycle": "stable"}}, "boot_alternative: expected 'B', found 'A'"),
        ({"variables": {"boot_alternative": "B"}}, "boot_cycle: expected 'stable', found None"),
        ({"status": status(state="trial")}, "state of `manageboot status`: expected 'idle', found 'trial'"),
        ({"status": status(booted="A")}, "booted of `manageboot status`: expected 'B', found 'A'"),
        (
            {"status": status(slots={"A": {"record": {"state": "void"}}, "B": {"record": None}})},
            "record of slot A: expected '-', found 'void'; record of slot B: expected 'confirmed v2', found '-'",
        ),
    ],
)
def test_each_witness_inside_the_node_counts(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(StepFailed) as caught:
        EXPECTATION.check(dataclasses.replace(SEEN, **change), BOOTS)
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    ("boots", "complaint"),
    [
        ([], "boots through firmware: expected 1, found 0"),
        (BOOTS * 2, "boots through firmware: expected 1, found 2"),
        ([BOOTS[0].replace("manageboot: slot ", "")], "boots through GRUB: expected 1, found 0"),
        ([BOOTS[0].replace("slot B", "slot A")], "slot that GRUB's script named"),
    ],
)
def test_the_serial_log_counts(boots: list[str], complaint: str) -> None:
    with pytest.raises(StepFailed) as caught:
        EXPECTATION.check(SEEN, boots)
    assert complaint in str(caught.value)
