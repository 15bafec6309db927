"""What must hold in every state, whatever led to it."""

import json
import re
from pathlib import Path
from typing import NamedTuple, Protocol

from protocol.node import GOOD, NEW, TORN, VOID, Agent, State, other
from protocol.truth import ABORTING, acceptable, after_verb
from support.blocks import GARBAGE, PHASES, phase_of, variables
from support.grubemu import Answer, Question

DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"


class Violation(NamedTuple):
    """A rule that does not hold, and the way to where it does not."""

    rule: str
    text: str
    path: tuple[str, ...]


class Loader(Protocol):
    """What boots the node: GRUB with a script, or a host."""

    def ask(self, question: Question) -> Answer:
        """Boot once."""


class Rules:
    """The rules, and where they were broken."""

    def __init__(
        self, loader: Loader, the_agent: Agent, *, shipped: bool, rewrites: bool, tries: int, cannot_hold: set[str]
    ) -> None:
        """Make the rules.

        Args:
            loader: what boots the node.
            the_agent: the agent.
            shipped: whether it is the shipped script that boots the node.
            rewrites: whether it makes a block that says nothing anew, so that slot A is trusted from then on.
            tries: how many boots a trial has.
            cannot_hold: the rules that it can't hold.
        """
        self.shipped = shipped
        self.rewrites = rewrites
        self.loader = loader
        self.cannot_hold = cannot_hold
        self.agent = the_agent
        self.tries = tries
        self.table = documented_table()
        self.violations: dict[tuple[str, str], Violation] = {}
        self.broken: list[Violation] = []
        """The violations that should not be."""
        self.cells: set[tuple[str, str]] = set()
        self.paths: dict[State, tuple[State | None, str]] = {}
        """How each state was reached first: from which, by what."""

    def check_boot(self, state: State, event: str, question: Question, answer: Answer) -> None:
        slot = answer.slot
        good = [one for one in question.loadable if state.content(one) == GOOD and not self.is_mute(state)]
        foretold = self.agent.next(state) if question == ask_for(state) else None
        # Where there is no block, a host boots nothing, and nothing is foretold.
        if (
            foretold is not None
            and foretold in question.loadable
            and foretold != slot
            and (slot is not None or state.block is not None)
        ):
            self.violate("next is what boots", f"{event}: next said {foretold}, and {slot} booted", state)
        if slot is None:
            self.violate("something boots", f"{event}: {question.loadable} could be loaded, and nothing was", state)
            return
        found = variables(state.block)
        named = found.get("boot_alternative", "A")
        committed = slot == named and found.get("boot_cycle") in {"first_boot", "failsafe_check"}
        if state.content(slot) == NEW and not committed and good:
            self.violate("only what was committed boots", f"{event}: slot {slot} was not committed, and booted", state)
        if f"dfinity.system={slot}" not in answer.arguments.split():
            self.violate("the booted slot is told", f"{event}: slot {slot}, {answer.arguments!r}", state)
        if not question.writable and state.content(slot) == NEW and good and committed:
            self.violate("no trial unless it is written down", f"{event}: slot {slot} was started", state)
        known = state.block not in {None, b"", GARBAGE} and set(found) >= {"boot_alternative", "boot_cycle"}
        if found.get("boot_cycle") in {"stable", "install"} and known and named in question.loadable and slot != named:
            self.violate("a confirm is never undone", f"{event}: {named} is trusted, {slot} booted", state)
        if state.block == GARBAGE and state.witness is not None:
            trusted = variables(state.witness).get("mb_trusted")
            if trusted in question.loadable and slot != trusted:
                self.violate("a damaged block boots the last trusted slot", f"{event}: {trusted}, not {slot}", state)

    def check_convergence(self, state: State) -> None:
        """Left alone, whether or not GRUB can write, it comes to a trusted slot within tries + 1 boots, and stays."""
        mute = self.is_mute(state) or (self.rewrites and phase_of("A", state.block, None) is None)
        if mute or not any(state.content(slot) == GOOD for slot in state.loadable):
            return
        for writable in (True, False):
            seen = []
            now = state
            for _ in range(self.tries + 2):
                answer = self.loader.ask(ask_for(now)._replace(writable=writable))
                seen.append(answer.slot)
                now = now._replace(block=answer.block)
            if seen[-1] is None:
                self.violate("something boots", f"left alone, writable={writable}: {seen}", state)
                continue
            good = [slot is not None and state.content(slot) == GOOD for slot in seen]
            first = good.index(True) if True in good else len(good)
            if first > self.tries:
                self.violate("a trusted slot within tries + 1 boots", f"writable={writable}: {seen}", state)
            elif not all(good[first:]):
                self.violate("a trusted slot stays", f"writable={writable}: {seen}", state)

    def check_cause(self, state: State) -> None:
        """What the agent says of a trial that did not stay is what became of it."""
        right = acceptable(
            state.truth, booted=str(state.booted), block=state.block, witness=state.witness,
            arguments=state.arguments, shipped=self.shipped,
        )  # fmt: skip
        told = self.agent.told(state)
        if right is not None and told not in right:
            self.violate("the cause is told as it is", f"{told} is told, and true is {right}", state)

    def check_verb(self, state: State, verb: str, states: list[State], refusal: str | None) -> None:
        after = states[-1]
        passive = other(str(state.booted))
        phase = phase_of(state.booted, state.block, state.witness)
        if phase is None:
            if verb != "arrived" and refusal != "BLOCK_DAMAGED":
                self.violate("verbs agree with the table", f"{verb} on a damaged block: {refusal}", state)
            return
        if verb == "deadline" and phase != "trial" and refusal is None:
            self.violate("only a trial is aborted", f"{verb} in {phase}", state)
        if verb in self.table:
            self.cells.add((verb, phase))
            expected = self.table[verb][phase]
            if refusal not in expected:
                words = f"{verb} in {phase}: {refusal}, not {sorted(map(str, expected))}"
                self.violate("verbs agree with the table", words, state)
        if refusal is not None:
            changed = any(one.block != state.block for one in states)
            if changed or after.contents != state.contents or after.records != state.records:
                self.violate("a refusal changes nothing", f"{verb} in {phase}: {refusal}", state)
            return
        self.check_contents(state, verb, states)
        self.check_block(state, verb, phase, after)
        self.check_witness(state, verb, phase, states)
        self.check_records(state, verb, phase, after)
        aborts = verb in ABORTING or (verb == "confirm" and is_aborted(state))
        if phase == "trial" and aborts:
            self.check_end_of_trial(state, after, passive)

    def check_end_of_trial(self, state: State, after: State, way_back: str) -> None:
        """A trial that was aborted has no boot left."""
        answer = self.loader.ask(ask_for(after))
        if answer.slot != way_back and way_back in after.loadable:
            self.violate("a trial that was aborted ends", f"slot {answer.slot} boots again", state)

    def check_contents(self, state: State, verb: str, states: list[State]) -> None:
        """What a verb did to the passive slot, at every instant."""
        booted, passive = str(state.booted), other(str(state.booted))
        if any(TORN in one.contents for one in states):
            self.violate("whatever can be loaded is whole", f"{verb}: slot {passive} holds a part of an image", state)
        if verb == "upgrade-install":
            for one in states:
                says, holds = recorded(one, booted, passive).get("state"), one.content(passive)
                if says == "installed" and one.records != state.records and holds != NEW:
                    self.violate("what is recorded as installed is whole", f"slot {passive}: {holds}", state)
        touched = any(one.content(passive) != state.content(passive) for one in states)
        if touched and state.content(booted) != GOOD:
            self.violate("the way back is not overwritten", f"{verb}: slot {booted} was never confirmed", state)

    def check_block(self, state: State, verb: str, phase: str, after: State) -> None:
        """What a verb wrote, and whether the slot that it armed may be armed."""
        booted, passive = str(state.booted), other(str(state.booted))
        before, found = variables(state.block), variables(after.block)
        trust = (before.get("boot_alternative"), before.get("boot_cycle")) if is_aborted(state) else (booted, "stable")
        wanted = {
            ("upgrade-commit", "idle"): (passive, "first_boot"),
            ("rollback", "idle"): (passive, "first_boot"),
            ("upgrade-cancel", "pending"): (booted, "stable"),
            ("confirm", "idle"): (booted, "stable"),
            ("confirm", "trial"): trust,
            ("rollback", "trial"): (booted, "failsafe_check"),
            ("deadline", "trial"): (booted, "failsafe_check"),
        }.get((verb, phase), (before.get("boot_alternative"), before.get("boot_cycle")))
        if found and (found.get("boot_alternative"), found.get("boot_cycle")) != wanted:
            self.violate("verbs agree with the table", f"{verb} in {phase} wrote {found}, not {wanted}", state)
        if phase != "idle":
            return
        if verb in {"upgrade-commit", "rollback"} and after.content(passive) == VOID:
            self.violate("only a whole slot is armed", f"{verb}: slot {passive} is void", state)
        if verb == "upgrade-commit" and '"installed"' not in state.records["AB".index(booted)]:
            self.violate("only an installed slot is committed", f"{verb}: the record says otherwise", state)
        if verb == "rollback" and after.content(passive) != GOOD:
            self.violate("only a confirmed slot is rolled back to", f"{passive} is {after.content(passive)}", state)

    def check_records(self, state: State, verb: str, phase: str, after: State) -> None:
        """Once a verb that ends a commit has returned, no record speaks of that commit any more."""
        booted, passive = str(state.booted), other(str(state.booted))
        ended = {
            ("upgrade-cancel", "pending"): passive,
            ("confirm", "trial"): "" if is_aborted(state) else "AB",
            # It may complete one that was cut off; something else may be in the other slot since.
            ("confirm", "idle"): booted,
        }.get((verb, phase), "")
        for slot in ended:
            entry = recorded(after, booted, slot)
            if entry.get("state") == "committed" or "committed_in" in entry:
                self.violate("what belongs to a commit ends with it", f"{verb} in {phase}: {slot} is {entry}", state)

    def check_witness(self, state: State, verb: str, phase: str, states: list[State]) -> None:
        """What a verb wrote into the second block."""
        shipped = "manageboot.slot" in state.arguments
        follows = variables(states[-1].witness).get("mb_trusted") == state.booted
        # An interrupted confirm may leave the second witness behind; one that returns does not.
        confirms = verb == "confirm" and phase in {"idle", "trial"} and not (phase == "trial" and is_aborted(state))
        if confirms and shipped and state.block and not follows:
            self.violate("the second witness follows a confirm", f"it says {states[-1].witness!r}", state)
        for one in states:
            trusted = variables(one.witness).get("mb_trusted")
            good = trusted is None or judged(state, verb, one, None).content(trusted) == GOOD
            if one.witness != state.witness and not good:
                self.violate("the second witness names a trusted slot", f"{verb}: it names {trusted}", state)

    def is_mute(self, state: State) -> bool:
        """Whether neither block says anything: then any GRUB has to guess, and takes slot A."""
        return self.shipped and state.witness is None and phase_of("A", state.block, None) is None

    def violate(self, rule: str, text: str, state: State) -> None:
        if (rule, text) in self.violations:
            return
        events = []
        at: State | None = state
        while at is not None:
            before, event = self.paths[at]
            events.append(event if before is not None else f"{at.block!r:.120} {at.contents}")
            at = before
        self.violations[rule, text] = Violation(rule, text, tuple(reversed(events)))
        if rule not in self.cannot_hold:
            self.broken.append(self.violations[rule, text])


def is_aborted(state: State) -> bool:
    """Whether the trial that runs was aborted before, as far as that can be told."""
    found = variables(state.block)
    trial = found.get("mb_trial")
    by_the_nonce = bool(found.get("mb_nonce")) and f"manageboot.nonce={found['mb_nonce']}" in state.arguments.split()
    boot, *words = (state.mark or b"none").decode().split()
    by_the_mark = boot == state.boot_id and trial in words
    return trial in {"by_hand", "unhealthy", "deadline"} and (by_the_nonce or by_the_mark)


def recorded(state: State, booted: str, slot: str) -> dict[str, str]:
    """What the records of the booted slot say of a slot; empty: nothing."""
    text = state.records["AB".index(booted)]
    slots: dict[str, dict[str, str]] = json.loads(text)["slots"] if text else {}
    return slots.get(slot, {})


def judged(state: State, verb: str, after: State, refusal: str | None, *, end: bool = True) -> State:
    """Keep the account of what really is in the slots, and of what became of the last commit.

    A confirm that reached the disk makes a slot good.
    """
    booted = str(state.booted)
    cycle = variables(after.block).get("boot_cycle")
    if refusal is not None:
        return after
    truth = after_verb(
        state.truth, verb, phase=phase_of(booted, state.block, state.witness), passive=other(booted),
        seen=variables(state.block).get("boot_cycle") == "failsafe_check",
        cycle=cycle, wrote=after.block != state.block, noted=after.records != state.records, end=end,
    )  # fmt: skip
    after = after._replace(truth=truth)
    confirmed = cycle == "stable" != variables(state.block).get("boot_cycle")
    if verb == "confirm" and confirmed and after.content(booted) == NEW:
        return after.with_content(booted, GOOD)
    return after


def ask_for(state: State) -> Question:
    return Question(state.block, state.witness, state.loadable)


def documented_exceptions(title: str) -> set[str]:
    """Read from a section of docs/protocol.md which rules can't hold there."""
    section = DOCUMENT.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^- \*([^*]+)\*:", section, re.MULTILINE))


def documented_table() -> dict[str, dict[str, set[str | None]]]:
    """Read from docs/protocol.md which verbs are refused where, and how; None stands for: not refused."""
    text = DOCUMENT.read_text()
    rows = re.findall(r"^\| (upgrade-\w+|confirm|rollback) \|(.*)\|$", text, re.MULTILINE)
    table = {}
    for verb, cells in rows:
        entries = {}
        for phase, cell in zip(PHASES, cells.split("|"), strict=True):
            codes: set[str | None] = set(re.findall(r"`([A-Z_]+)`", cell))
            entries[phase] = codes if cell.strip().startswith("refused") else {None, *codes}
        table[verb] = entries
    return table
