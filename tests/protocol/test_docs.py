"""docs/protocol.md and docs/command-line.md against the code and against real GRUB: what they say is what is done."""

import re
from itertools import chain, product
from pathlib import Path

import pytest

from manageboot import errors
from manageboot.boot import fallback, markers
from manageboot.boot.cmdline import GrubParameters
from manageboot.boot.envblock import Condition, Environment
from manageboot.boot.fallback import Cause
from manageboot.boot.markers import Markers
from manageboot.boot.node import Node
from manageboot.boot.record import SlotRecord
from manageboot.protocol import TABLE, BlockState, BootState, Content, Cycle, Phase, Slot, Verb, Write, transition
from manageboot.report import doctor
from protocol.node import State, agent, record_text
from support.blocks import PHASES, environment_block, phase_of, variables
from support.grubemu import SHIPPED, Grub, Question

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
            after = transition(state, verb, content).block
        except errors.RefusedError:
            continue
        if after is not None:
            found.add((state.phase.value, BootState(Slot.A, after).phase.value, verb.value))
    assert drawn == found


@pytest.mark.grub
@pytest.mark.usefixtures("each_grub")
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
            transition(BootState(Slot.A, BlockState(slot, cycle)), verb, content)
        except errors.RefusedError as error:
            refusals.add(error.code)
    assert codes == refusals
    written = {
        Write.NOTHING: "",
        Write.ARM: "passive, `first_boot`",
        Write.TRUST: "booted, `stable`",
        Write.ABORT: "booted, `failsafe_check`",
    }[rule.write]
    assert cell.startswith(written)
    assert bool(re.search(r"`[a-z_]+`", cell)) is (rule.write is not Write.NOTHING)


NONCE = {"mb_nonce": "n"}
TRYING = {"mb_nonce": "n", "mb_ack": "n", "mb_tries": "3", "mb_tried": "1"}

# What GRUB finds, for each row of the table: the variables, and which slots can be loaded.
GRUB_ROWS: dict[str, list[tuple[dict[str, str], str]]] = {
    "`install`, or unset": [({"boot_cycle": "install"}, "AB"), ({}, "AB")],
    "`stable`": [({"boot_cycle": "stable"}, "AB")],
    "`first_boot`": [({"boot_cycle": "first_boot"}, "AB"), ({"boot_cycle": "first_boot", **NONCE}, "AB")],
    "`first_boot`, and the slot can't be loaded": [
        ({"boot_cycle": "first_boot"}, "other"),
        ({"boot_cycle": "first_boot", **NONCE}, "other"),
    ],
    "`failsafe_check`, a try is left": [({"boot_cycle": "failsafe_check", **TRYING}, "AB")],
    "`failsafe_check`": [
        ({"boot_cycle": "failsafe_check"}, "AB"),
        ({"boot_cycle": "failsafe_check", **TRYING, "mb_tried": "3"}, "AB"),
    ],
}


def test_the_table_of_grub_has_the_rows_that_are_tried():
    assert [cells[0] for cells in rows(section("What GRUB does"))] == list(GRUB_ROWS)


@pytest.mark.grub
@pytest.mark.usefixtures("each_grub")
@pytest.mark.parametrize("slot", Slot)
@pytest.mark.parametrize("row", GRUB_ROWS)
def test_each_row_of_the_table_of_grub(tmp_path: Path, row: str, slot: Slot):
    _, writes, boots = next(cells for cells in rows(section("What GRUB does")) if cells[0] == row)
    grub = Grub(tmp_path, SHIPPED)
    for found, loadable in GRUB_ROWS[row]:
        before = environment_block(boot_alternative=slot, **found)
        question = Question(before, None, slot.other if loadable == "other" else loadable)
        answer = grub.ask(question)
        named = slot.other if boots.startswith("the other slot") else slot
        assert answer.slot == named
        after = variables(answer.block)
        if writes == "nothing":
            assert answer.block == before
        elif writes == "the number of the try":
            assert after == {**variables(before), "mb_tried": str(int(found["mb_tried"]) + 1)}
        else:
            trusted = slot.other if writes.startswith("the other slot") else slot
            cycle = re.findall(r"`(\w+)`", writes)[0]
            assert (after["boot_alternative"], after["boot_cycle"]) == (trusted, cycle)
        unwritable = grub.ask(question._replace(writable=False))
        # Only a try needs a block that can be written; all the rest boots what it boots.
        stays_behind = slot.other if "the other slot if that can't be written" in boots else named
        assert unwritable.slot == stays_behind


@pytest.mark.grub
def test_who_writes_each_name(tmp_path: Path):
    """GRUB is asked with every row of its table, the agent runs each of its verbs, and both leave their names."""
    grub = Grub(tmp_path, SHIPPED)
    by_grub, by_agent = set(), set()
    for found, loadable in chain(*GRUB_ROWS.values()):
        before = environment_block(boot_alternative="B", **found)
        answer = grub.ask(Question(before, None, "A" if loadable == "other" else loadable))
        by_grub |= {name for name, _ in set(variables(answer.block).items()) - set(variables(before).items())}
    script = "dfinity.system={0} manageboot.slot={0}".format
    idle = environment_block(boot_alternative="A", boot_cycle="stable")
    trial = environment_block(boot_alternative="A", boot_cycle="failsafe_check", **TRYING)
    for block, content, verb in (
        (idle, "installed", "upgrade-commit"),
        (idle, "confirmed", "rollback"),
        (trial, "confirmed", "arrived"),
        (trial, "confirmed", "rollback"),
    ):
        record = record_text(A="confirmed", B=content)
        state = State("A", block, None, None, ("good", "good"), (record, ""), script("A"), "i1")
        with agent(tries=3) as running:
            after = running.run(state, verb).states[-1]
        by_agent |= {name for name, _ in set(variables(after.block).items()) - set(variables(block).items())}
    documented = {cells[0].strip("`"): cells[1] for cells in rows(section("What else is in the block"))}
    assert {name for name in by_grub if name[:3] == "mb_"} == {n for n, who in documented.items() if who[:4] == "GRUB"}
    assert {name for name in by_agent if name[:3] == "mb_"} == {
        n for n, who in documented.items() if who[:5] == "agent"
    }


def test_the_names_in_the_block_and_on_the_kernel_command_line():
    named = [cells[0].strip("`") for cells in rows(section("What else is in the block"))]
    assert named == list(markers.NAMES)
    script = SHIPPED.read_text()
    for name in named:
        assert f"{name}=" in script or f"unset {name}" in script, name
    for word in re.findall(r"`(manageboot\.\w+)`", section("What else is in the block")):
        assert f"{word}=" in script, word
    for fault in ("damaged", "unwritable", "unloadable", "menu"):
        assert f"set fault={fault}" in script
        assert f"`{fault}`" in section("What else is in the block")


IDLE = BlockState(Slot.A, Cycle.STABLE)
PENDING = BlockState(Slot.B, Cycle.FIRST_BOOT)
COMMITTED = SlotRecord(Content.COMMITTED, nonce="n", committed_in="the boot before")
STARTED = Markers(nonce="n", ack="n", fallback="unconfirmed")

# What block, record and kernel command line say, for each cause: all that its row names, each alone.
TOLD: dict[Cause, list[tuple[BlockState, Markers, SlotRecord | None, str]]] = {
    Cause.NEVER_STARTED: [
        (PENDING, Markers(nonce="n"), COMMITTED, ""),
        (PENDING, Markers(nonce="n"), None, "manageboot.fault=unwritable"),
    ],
    Cause.UNLOADABLE: [(IDLE, Markers(nonce="n", ack="n", fallback="unloadable"), COMMITTED, "mb_fallback=unloadable")],
    Cause.DIED_EARLY: [(IDLE, STARTED, COMMITTED, ""), (IDLE, STARTED, None, "")],
    Cause.DIED_LATER: [(IDLE, STARTED._replace(trial="userspace"), COMMITTED, "mb_trial=userspace")],
    Cause.UNHEALTHY: [(IDLE, STARTED._replace(trial="unhealthy"), COMMITTED, "mb_trial=unhealthy")],
    Cause.DEADLINE: [(IDLE, STARTED._replace(trial="deadline"), COMMITTED, "mb_trial=deadline")],
    Cause.BY_HAND: [(IDLE, STARTED._replace(trial="by_hand"), COMMITTED, "mb_trial=by_hand")],
    Cause.UNKNOWN: [
        (IDLE, Markers(), COMMITTED._replace(nonce=None), ""),
        (IDLE, STARTED._replace(nonce="another", ack="another"), COMMITTED, ""),
    ],
}


def test_each_cause_is_documented():
    documented = [cells[0].strip("`") for cells in rows(section("Why a trial did not stay"))]
    assert documented == [cause.value for cause in Cause] == [cause.value for cause in TOLD]
    assert set(fallback.TEXTS) == set(Cause)


@pytest.mark.parametrize("cause", Cause)
def test_each_row_of_the_table_of_causes(cause: Cause):
    told_by = next(cells[1] for cells in rows(section("Why a trial did not stay")) if cells[0] == f"`{cause.value}`")
    assert set(re.findall(r"`(\S+=\S+)`", told_by)) == {word for *_, word in TOLD[cause] if word}
    for block, left, entry, word in TOLD[cause]:
        fault = word.removeprefix("manageboot.fault=") if word.startswith("manageboot.") else ""
        trace = GrubParameters("A", nonce=left.nonce, fault=fault) if fault else None
        records = {} if entry is None else {Slot.B: entry}
        seen = Environment("grubenv", Condition.OK, block, None, left)
        explained = fallback.detect(Node(Slot.A, seen, records, None, trace, "this boot"))
        assert explained is not None
        assert (explained.slot, explained.cause) == (Slot.B, cause)


def test_each_finding_of_doctor_is_documented():
    text = (DOCS / "command-line.md").read_text().partition("## What doctor finds")[2].partition("\n## ")[0]
    assert [cells[0].strip("`") for cells in rows(text)] == list(doctor.REMEDIES)
