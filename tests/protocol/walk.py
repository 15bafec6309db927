"""The exhaustive walk: every event in every state that real GRUB and the real agent can reach, and what must hold.

Run it with `python -m protocol.walk` in tests/; `--help` tells the rest.
"""

import argparse
import logging
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from protocol.node import Agent, State, agent, fresh, other
from protocol.rules import Rules, Violation, ask_for, judged
from protocol.start import starts
from protocol.truth import NOTHING, PASSED_OVER, after_boot
from support import judges
from support.blocks import GARBAGE, variables
from support.grubemu import SHIPPED, STOCK, Grub

_WORD = re.compile(r"\b[ni][1-9]\b")
VERBS = ("upgrade-install", "upgrade-commit", "upgrade-cancel", "confirm", "rollback", "deadline", "arrived")


class Result(NamedTuple):
    """What a walk found."""

    states: int
    transitions: int
    grub_runs: int
    agent_runs: int
    violations: list[Violation]
    depth: int
    """How many events in a row were all tried."""
    complete: bool
    """Whether no state was left unvisited."""
    cells: frozenset[tuple[str, str]]
    """The cells of the table, (verb, phase), that were tried."""


class Way(NamedTuple):
    """How to walk."""

    script: Path = SHIPPED
    tries: int = 1
    shared: bool = False
    """Whether the slots share their records, or each has its own."""
    mishaps: int | None = None
    """How many kills, power cuts and faults may be on one way; None: any number, which leaves no time to go far."""

    def __str__(self) -> str:
        parts = [self.script.name, f"{self.tries} {'try' if self.tries == 1 else 'tries'}"]
        parts += ["shared records"] * self.shared
        if self.mishaps is not None:
            parts.append(f"{self.mishaps or 'no'} {'mishap' if self.mishaps == 1 else 'mishaps'}")
        return ", ".join(parts)


class Walk:
    """One walk."""

    def __init__(self, grub: Grub, the_agent: Agent, way: Way, *, stop: bool) -> None:
        self.way = way
        self.shipped = way.script != STOCK
        self.grub = grub
        self.agent = the_agent
        self.stop = stop
        self.rules = Rules(grub, the_agent, shipped=self.shipped, tries=way.tries)
        self.paths = self.rules.paths
        self.mishaps: dict[State, int] = {}
        """How many were needed to reach a state."""
        self.transitions = 0

    def walk(self, begin: Iterable[State], depth: int, *, seconds: float) -> Result:
        layer = list(dict.fromkeys(begin))
        self.paths.update(dict.fromkeys(layer, (None, "start")))
        self.mishaps.update(dict.fromkeys(layer, 0))
        deadline = time.monotonic() + seconds
        reached = 0
        late = False
        while layer and reached < depth and not late and not (self.stop and self.rules.violations):
            reached += 1
            following: dict[State, None] = {}
            for state in layer:
                late = time.monotonic() > deadline
                if late:
                    break
                for event, found, mishap in self.events(state):
                    self.transitions += 1
                    after = renamed(found)
                    needed = self.mishaps[state] + (mishap if self.way.mishaps is not None else 0)
                    self.paths.setdefault(after, (state, event))
                    if needed < self.mishaps.get(after, 1 << 30):
                        self.mishaps[after] = needed
                        following[after] = None
                if self.stop and self.rules.violations:
                    break
            layer = list(following)
        return Result(
            len(self.paths), self.transitions, self.grub.runs, self.agent.runs, list(self.rules.violations.values()),
            reached - late, not layer, frozenset(self.rules.cells),
        )  # fmt: skip

    def events(self, state: State) -> Iterator[tuple[str, State, bool]]:
        """Try every event that may happen: its name, what comes of it, and whether it is a mishap."""
        may_go_wrong = self.way.mishaps is None or self.mishaps[state] < self.way.mishaps
        if state.booted is None:
            self.rules.check_convergence(state)
            yield from self.boots(state, may_go_wrong=may_go_wrong)
            return
        self.rules.check_cause(state)
        for verb in VERBS:
            run = self.agent.run(state, verb)
            self.rules.check_verb(state, verb, run.states, run.refusal)
            for number, written in enumerate(run.states):
                end = number == len(run.states) - 1
                after = judged(state, verb, written, run.refusal, end=end)
                if end:
                    yield verb, after, False
                elif may_go_wrong:
                    yield f"{verb}, killed after step {number + 1}", after, True
                if may_go_wrong:
                    yield f"{verb}, power cut after step {number + 1}", off(after), True
        yield "reboot", off(state._replace(undo=None)), False
        if state.undo is not None and may_go_wrong:
            block, truth = state.undo
            yield "power loss that undoes GRUB's write", off(state._replace(block=block, undo=None, truth=truth)), True
            yield "power loss", off(state._replace(undo=None)), True

    def boots(self, state: State, *, may_go_wrong: bool) -> Iterator[tuple[str, State, bool]]:
        named = variables(state.block).get("boot_alternative", "A")
        ways = [("GRUB", ask_for(state))]
        if may_go_wrong:
            ways += [
                ("GRUB, save_env fails", ask_for(state)._replace(writable=False)),
                (f"GRUB, the kernel of {named} missing", ask_for(state)._replace(loadable=other(named))),
            ]
        for name, question in ways:
            if not set(question.loadable) <= set(state.loadable) or not question.loadable:
                continue
            answer = self.grub.ask(question)
            self.rules.check_boot(state, name, question, answer)
            truth = after_boot(state.truth, state.block, answer.slot, answer.block)
            after = state._replace(block=answer.block, undo=None, truth=truth)
            if answer.slot is None:
                yield f"{name}, stuck; power cycle", after, name != "GRUB"
                continue
            undo = (state.block, state.truth) if answer.block != state.block else None
            yield name, after._replace(booted=answer.slot, undo=undo,
                                       arguments=answer.arguments, boot_id=boot_id(state)), name != "GRUB"  # fmt: skip
        if may_go_wrong:
            yield from ((name, after, True) for name, after in self.mischances(state))

    def mischances(self, state: State) -> Iterator[tuple[str, State]]:
        """What else can happen to a node that is off, or starts."""
        for slot in state.loadable:
            words = f"dfinity.system={slot}"
            if self.shipped:
                words += f" manageboot.slot={slot} manageboot.cycle= manageboot.fault=menu"
            # Only the shipped script says that somebody chose.
            truth = state.truth if self.shipped or state.truth == NOTHING else None
            yield (
                f"slot {slot} by the menu",
                state._replace(booted=slot, arguments=words, boot_id=boot_id(state), truth=truth),
            )
        trusted = other(variables(state.block).get("boot_alternative", "A"))
        if variables(state.block).get("boot_cycle") == "first_boot" and trusted in state.loadable:
            words = f"dfinity.system={trusted}"
            if self.shipped:
                words += f" manageboot.slot={trusted} manageboot.cycle=stable"
            truth = state.truth and state.truth._replace(stage=PASSED_OVER)
            yield (
                "GRUB, by another block",
                state._replace(booted=trusted, arguments=words, boot_id=boot_id(state), truth=truth),
            )
        if state.block != GARBAGE:
            yield "the block is damaged", state._replace(block=GARBAGE, undo=None, truth=None)


WAYS = (
    Way(),
    Way(tries=3),
    Way(shared=True),
    Way(mishaps=0),
    Way(shared=True, mishaps=0),
    Way(STOCK),
)
"""With any number of mishaps it goes a few events far; without any, from slot to slot and back till nothing is new."""


def boot_id(state: State) -> str:
    """Name a boot as no record names one."""
    return fresh("i", f"{state.records}")


def renamed(state: State) -> State:
    """Name commits and boots anew, in the order in which they appear: to the agent and to GRUB a word is a word."""
    found = list(dict.fromkeys(_WORD.findall(repr(state))))
    names: dict[str, str] = {}
    for word in found:
        names[word] = f"{word[0]}{1 + sum(other[0] == word[0] for other in names)}"
    if names == dict(zip(found, found, strict=True)):
        return state

    def text(before: str) -> str:
        return _WORD.sub(lambda match: names[match[0]], before)

    def data(before: bytes | None) -> bytes | None:
        return before and text(before.decode()).encode()

    return state._replace(
        block=data(state.block), undo=state.undo and (data(state.undo[0]), state.undo[1]), mark=data(state.mark),
        records=(text(state.records[0]), text(state.records[1])), arguments=text(state.arguments),
        boot_id=text(state.boot_id),
    )  # fmt: skip


def off(state: State) -> State:
    return state._replace(booted=None, undo=None, arguments="", boot_id="i0", mark=None)


def main() -> int:
    """Walk with the shipped grub.cfg and with a stock-like one, and print what was found."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--depth", type=int, help="events in a row (default: 8, or 40 where mishaps are counted)")
    parser.add_argument("--seconds", type=float, default=90, help="for each walk")
    parser.add_argument("--tries", type=int, help="one walk only: boot.tries")
    parser.add_argument("--shared", action="store_true", help="one walk only: the slots share their records")
    parser.add_argument("--mishaps", type=int, help="one walk only: at most so many on a way")
    parser.add_argument("--stop", action="store_true", help="at the first violation")
    parser.add_argument("--memory", type=Path, help="a file that keeps what GRUB answered")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    judges.choose()
    print(f"judged by {judges.version()}", flush=True)
    failed = 0
    ways: tuple[Way, ...] = WAYS
    if options.tries is not None:
        ways = (Way(tries=options.tries, shared=options.shared, mishaps=options.mishaps),)
    for way in ways:
        begin = time.monotonic()
        depth = options.depth or (8 if way.mishaps is None else 40)
        result = run(way, depth=depth, seconds=options.seconds, stop=options.stop,
                     memory=options.memory if way.script != STOCK else None)  # fmt: skip
        whole = ", and there is no more to reach" if result.complete else ""
        print(
            f"{way}: {result.states} states, {result.transitions} transitions, depth {result.depth}{whole}, "
            f"{result.grub_runs} GRUB runs, {result.agent_runs} agent runs, {len(result.violations)} violations, "
            f"{time.monotonic() - begin:.0f} s",
            flush=True,
        )
        rules = Counter(violation.rule for violation in result.violations)
        if way.script == STOCK:
            print("  what a stock grub.cfg cannot hold: " + "; ".join(sorted(rules)))
            continue
        failed += len(result.violations)
        for violation in result.violations[:20]:
            print(f"  {violation.rule}: {violation.text}\n    " + "\n    ".join(violation.path))
    return 1 if failed else 0


def run(
    way: Way, *, depth: int, seconds: float, stop: bool = False, memory: Path | None = None,
    begin: Iterable[State] | None = None,
) -> Result:  # fmt: skip
    """Do one walk, from every start, or from those that are given."""
    shipped = way.script != STOCK
    with (
        tempfile.TemporaryDirectory(prefix="manageboot-grub-") as directory,
        agent(tries=way.tries, shared=way.shared) as the_agent,
    ):
        grub = Grub(Path(directory), way.script, memory=memory)
        try:
            walk = Walk(grub, the_agent, way, stop=stop)
            return walk.walk(begin or starts(shipped=shipped, shared=way.shared), depth, seconds=seconds)
        finally:
            grub.remember()


def follow(way: Way, begin: Iterable[State], event: str) -> list[State]:
    """Return what comes of one event in some states."""
    with (
        tempfile.TemporaryDirectory(prefix="manageboot-grub-") as directory,
        agent(tries=way.tries, shared=way.shared) as the_agent,
    ):
        walk = Walk(Grub(Path(directory), way.script), the_agent, way, stop=False)
        walk.paths.update(dict.fromkeys(begin, (None, "start")))
        walk.mishaps.update(dict.fromkeys(walk.paths, 0))
        return list(
            dict.fromkeys(
                renamed(found) for state in list(walk.paths) for name, found, _ in walk.events(state) if name == event
            )
        )


if __name__ == "__main__":
    sys.exit(main())
