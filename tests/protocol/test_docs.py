"""docs/protocol.md and docs/command-line.md against the code and against real GRUB: what they say is what is done."""

import re
from itertools import product
from pathlib import Path

import pytest

from manageboot import doctor, errors, fallback, traces
from manageboot.protocol import TABLE, BlockState, BootState, Content, Cycle, Phase, Slot, Verb, Write, decide
from protocol.blocks import PHASES, environment_block, phase_of
from protocol.grubemu import Grub, Question
from protocol.walk import SHIPPED

DOCS = Path(__file__).parents[2] / "docs"
PROTOCOL = (DOCS / "protocol.md").read_text()


def section(title: str) -> str:
    return PROTOCOL.partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The rows of a table, without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"][2:]


def test_the_arrows_of_the_verbs():
    drawn = {tuple(arrow) for arrow in re.findall(r"^    (\w+) --> (\w+) : ([a-z-]+)$", PROTOCOL, re.MULTILINE)}
    found = set()
    for alternative, cycle, verb, content in product(Slot, Cycle, Verb, Content):
        state = BootState(Slot.A, BlockState(alternative, cycle))
        try:
            after = decide(state, verb, content).block
        except errors.RefusedError:
            continue
        if after is not None:
            found.add((state.phase.value, BootState(Slot.A, after).phase.value, verb.value))
    assert drawn == found


@pytest.mark.grub
def test_the_arrows_of_grub(tmp_path: Path):
    drawn = {tuple(arrow) for arrow in re.findall(r"^    (\w+) --> (\w+) : (GRUB.*)$", PROTOCOL, re.MULTILINE)}
    armed = {"mb_nonce": "n", "mb_tries": "2"}
    running = {"mb_nonce": "n", "mb_ack": "n", "mb_tries": "2", "mb_tried": "1"}
    boots = [
        ("idle", "GRUB", Question(environment_block(boot_alternative="A", boot_cycle=cycle), None, "AB"))
        for cycle in ("stable", "install")
    ]
    for more in ({}, armed):
        pending = environment_block(boot_alternative="B", boot_cycle="first_boot", **more)
        boots += [
            ("pending", "GRUB", Question(pending, None, "AB")),
            ("pending", "GRUB, the trial can't be loaded", Question(pending, None, "A")),
            ("pending", "GRUB, the block can't be written", Question(pending, None, "AB", writable=False)),
        ]
    for label, more in (("GRUB", {}), ("GRUB, a try is left", running), ("GRUB", {**running, "mb_tried": "2"})):
        trial = environment_block(boot_alternative="B", boot_cycle="failsafe_check", **more)
        boots.append(("trial", label, Question(trial, None, "AB")))
    grub = Grub(tmp_path, SHIPPED)
    found = set()
    for phase, label, question in boots:
        answer = grub.ask(question)
        found.add((phase, str(phase_of(answer.slot, answer.block, None)), label))
    assert drawn == found


def test_the_table_of_the_witnesses():
    found = {}
    for cells in rows(section("What the two witnesses mean together")):
        for cycle in re.findall(r"`(\w+)`", cells[0]):
            found[Cycle(cycle)] = tuple(re.findall(r"\*\*(\w+)\*\*", cell)[0] for cell in cells[1:])
    assert found == {
        cycle: tuple(BootState(Slot.A, BlockState(slot, cycle)).phase.value for slot in Slot) for cycle in Cycle
    }


@pytest.mark.parametrize(("verb", "phase"), list(product(Verb, Phase)))
def test_each_cell_of_the_table_of_the_verbs(verb: Verb, phase: Phase):
    row = next(cells for cells in rows(section("What each verb does")) if cells[0] == verb.value)
    cell = row[1 + PHASES.index(phase.value)]
    rule = TABLE[phase, verb]
    assert ("refused" in cell) is (rule.refusal is not None)
    assert ("reboots" in cell) is rule.reboots
    assert ("the record has to say" in cell or "if it was a rollback" in cell) is (rule.needs is not None)
    codes = set(re.findall(r"`([A-Z_]+)`", cell))
    refusals = {rule.refusal.code} if rule.refusal else set()
    for content in Content if rule.refusal is None else ():
        slot = Slot.A if phase in {Phase.IDLE, Phase.TRIAL} else Slot.B
        cycle = {Phase.IDLE: Cycle.STABLE, Phase.TRIAL: Cycle.FAILSAFE_CHECK}.get(phase, Cycle.FIRST_BOOT)
        try:
            decide(BootState(Slot.A, BlockState(slot, cycle)), verb, content)
        except errors.RefusedError as error:
            refusals.add(error.code)
    assert codes == refusals
    written = {
        Write.NOTHING: "",
        Write.ARM: "passive, `first_boot`",
        Write.TRUST: "booted, `stable`",
        Write.GIVE_UP: "booted, `failsafe_check`",
    }[rule.write]
    assert cell.startswith(written)
    assert bool(re.search(r"`[a-z_]+`", cell)) is (rule.write is not Write.NOTHING)


def test_the_names_in_the_block_and_on_the_kernel_command_line():
    named = [cells[0].strip("`") for cells in rows(section("What else stands in the block"))]
    assert named == list(traces.NAMES)
    script = SHIPPED.read_text()
    for name in named:
        assert f"{name}=" in script or f"unset {name}" in script, name
    for word in re.findall(r"`(manageboot\.\w+)`", section("What else stands in the block")):
        assert f"{word}=" in script, word
    for fault in ("damaged", "unwritable", "unloadable", "menu"):
        assert f"set fault={fault}" in script
        assert f"`{fault}`" in section("What else stands in the block")


def test_each_cause_is_documented():
    documented = [cells[0].strip("`") for cells in rows(section("Why a trial did not stay"))]
    assert documented == [cause.value for cause in fallback.Cause]
    assert set(fallback.TEXTS) == set(fallback.Cause)


def test_each_finding_of_doctor_is_documented():
    text = (DOCS / "command-line.md").read_text().partition("## What doctor finds")[2].partition("\n## ")[0]
    assert [cells[0].strip("`") for cells in rows(text)] == list(doctor.REMEDIES)
