"""The exhaustive walk: every event in every state that real GRUB and the real agent can reach, and what must hold.

Run it with `python -m protocol.walk` in tests/; `--help` tells the rest.
"""

import argparse
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from protocol.directhost import DirectHost
from protocol.node import GOOD, Agent, State, agent, fresh, other
from protocol.rules import Loader, Rules, Violation, ask_for, documented_exceptions, judged
from protocol.start import starts
from protocol.truth import NOTHING, PASSED_OVER, after_boot
from support import judges
from support.blocks import GARBAGE, phase_of, variables
from support.grubemu import SHIPPED, STOCK, Grub, Question

_WORD = re.compile(r"\b[ni][1-9]\b")
VERBS = ("upgrade-install", "upgrade-commit", "upgrade-cancel", "confirm", "rollback", "deadline", "arrived")


class Result(NamedTuple):
    """What a walk found."""

    states: int
    transitions: int
    grub_runs: int
    agent_runs: int
    violations: list[Violation]
    broken: list[Violation]
    """Those of rules that can be held."""
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
    direct: bool = False
    """Whether a host boots the node directly; then the script is that of the old way."""

    @property
    def shipped(self) -> bool:
        """Whether it is the shipped script that boots the node."""
        return self.script != STOCK and not self.direct

    @property
    def cannot_hold(self) -> set[str]:
        """The rules that the document says can't hold there."""
        if self.direct:
            return documented_exceptions("A host that boots its guests directly")
        return set() if self.shipped else documented_exceptions("GRUB's script on nodes in service")

    def __str__(self) -> str:
        tries = f"{self.tries} {'try' if self.tries == 1 else 'tries'}"
        parts = ["direct boot" if self.direct else self.script.name, tries]
        parts += ["shared records"] * self.shared
        if self.mishaps is not None:
            parts.append(f"{self.mishaps or 'no'} {'mishap' if self.mishaps == 1 else 'mishaps'}")
        return ", ".join(parts)


class Walk:
    """One walk."""

    def __init__(self, grub: Grub, the_agent: Agent, way: Way, *, stop: bool) -> None:
        self.way = way
        self.grub = grub
        self.loader: Loader = DirectHost(grub) if way.direct else grub
        self.name = "the host" if way.direct else "GRUB"
        self.agent = the_agent
        self.stop = stop
        self.rules = Rules(self.loader, the_agent, shipped=way.shipped, rewrites=way.direct,
                           tries=way.tries, cannot_hold=way.cannot_hold)  # fmt: skip
        self.paths = self.rules.paths
        self.mishaps: dict[State, int] = {}
        """How many were needed to reach a state."""
        self.transitions = 0

    @property
    def over(self) -> bool:
        """Whether a violation was found, and one is enough."""
        return self.stop and self.rules.broken != []

    def walk(self, begin: Iterable[State], depth: int, *, seconds: float) -> Result:
        layer = list(dict.fromkeys(begin))
        self.paths.update(dict.fromkeys(layer, (None, "start")))
        self.mishaps.update(dict.fromkeys(layer, 0))
        end_s = used_s() + seconds
        reached = 0
        late = False
        while layer and reached < depth and not late and not self.over:
            reached += 1
            following: dict[State, None] = {}
            for state in layer:
                late = used_s() > end_s
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
                    if self.over:
                        break
                if self.over:
                    break
            layer = list(following)
        return Result(
            len(self.paths), self.transitions, self.grub.runs, self.agent.runs, list(self.rules.violations.values()),
            self.rules.broken, reached - late, not layer, frozenset(self.rules.cells),
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
        if self.way.direct and may_go_wrong:
            for slot in state.loadable:
                yield f"slot {slot} by kexec", self.chosen(state, slot)._replace(mark=None), True
        if state.undo is not None and may_go_wrong:
            block, truth = state.undo
            yield "power loss that undoes GRUB's write", off(state._replace(block=block, undo=None, truth=truth)), True
            yield "power loss", off(state._replace(undo=None)), True

    def boots(self, state: State, *, may_go_wrong: bool) -> Iterator[tuple[str, State, bool]]:
        for name, loader, question in self.ways_to_boot(state, may_go_wrong=may_go_wrong):
            if not set(question.loadable) <= set(state.loadable) or not question.loadable:
                continue
            answer = loader.ask(question)
            self.rules.check_boot(state, name, question, answer)
            truth = after_boot(state.truth, state.block, answer.slot, answer.block)
            after = taken_at_its_word(state, answer.block)._replace(undo=None, truth=truth)
            if answer.slot is None:
                yield f"{name}, stuck; power cycle", after, name != self.name
                continue
            # The host flushes what it writes, GRUB does not.
            flushed = self.way.direct and loader is self.loader
            undo = (state.block, state.truth) if answer.block != state.block and not flushed else None
            yield name, after._replace(booted=answer.slot, undo=undo, arguments=answer.arguments,
                                       boot_id=boot_id(state)), name != self.name  # fmt: skip
        if may_go_wrong:
            yield from ((name, after, True) for name, after in self.mischances(state))

    def ways_to_boot(self, state: State, *, may_go_wrong: bool) -> list[tuple[str, Loader, Question]]:
        named, asked = variables(state.block).get("boot_alternative", "A"), ask_for(state)
        ways = [(self.name, self.loader, asked)]
        if may_go_wrong:
            ways += [
                (f"{self.name}, its write fails", self.loader, asked._replace(writable=False)),
                (f"{self.name}, the kernel of {named} missing", self.loader, asked._replace(loadable=other(named))),
            ]
        if may_go_wrong and self.way.direct:
            ways.append(("the host, through GRUB", DirectHost(self.grub, boot_args=False), asked))
        return ways

    def mischances(self, state: State) -> Iterator[tuple[str, State]]:
        """What else can happen to a node that is off, or starts."""
        if not self.way.direct:
            yield from ((f"slot {slot} by the menu", self.chosen(state, slot)) for slot in state.loadable)
        trusted = other(variables(state.block).get("boot_alternative", "A"))
        if variables(state.block).get("boot_cycle") == "first_boot" and trusted in state.loadable:
            words = f"dfinity.system={trusted}"
            if self.way.shipped:
                words += f" manageboot.slot={trusted} manageboot.cycle=stable"
            truth = state.truth and state.truth._replace(stage=PASSED_OVER)
            yield (
                f"{self.name}, by another block",
                state._replace(booted=trusted, arguments=words, boot_id=boot_id(state), truth=truth),
            )
        if state.block != GARBAGE:
            yield "the block is damaged", state._replace(block=GARBAGE, undo=None, truth=None)
        if self.way.direct:
            yield from self.mischances_of_the_host(state)

    def chosen(self, state: State, slot: str) -> State:
        """Boot the slot that somebody chose."""
        words = f"dfinity.system={slot}"
        if self.way.shipped:
            words += f" manageboot.slot={slot} manageboot.cycle= manageboot.fault=menu"
        # Only the shipped script says that somebody chose.
        truth = state.truth if self.way.shipped or state.truth == NOTHING else None
        return state._replace(booted=slot, arguments=words, boot_id=boot_id(state), truth=truth)

    def mischances_of_the_host(self, state: State) -> Iterator[tuple[str, State]]:
        """What happens to a guest that is off because its host fails, or loses its power."""
        answer = self.loader.ask(ask_for(state))
        if answer.block != state.block:
            truth = after_boot(state.truth, state.block, None, answer.block)
            yield "the host fails after its write", taken_at_its_word(state, answer.block)._replace(truth=truth)
            yield "power cut in the host's rename: no block", state._replace(block=None, truth=None)


WAYS = (
    Way(),
    Way(tries=3),
    Way(shared=True),
    Way(mishaps=0),
    Way(shared=True, mishaps=0),
    Way(STOCK),
    Way(STOCK, direct=True),
    Way(STOCK, direct=True, mishaps=0),
)
"""With any number of mishaps it goes a few events far; without any, from slot to slot and back till nothing is new."""


def taken_at_its_word(state: State, block: bytes | None) -> State:
    """Write another block. Where the one before said nothing, the slot that it names is trusted, whatever is in it."""
    after = state._replace(block=block)
    rewritten = block != state.block and phase_of("A", state.block, None) is None
    return after.with_content(variables(block)["boot_alternative"], GOOD) if rewritten else after


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


def used_s() -> float:
    """Return how long this process and what it ran were on a processor: a busy machine is to reach the same states."""
    return sum(os.times()[:4])


def main() -> int:
    """Walk with the shipped grub.cfg, a stock-like one and a host that boots directly, and print what was found."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--depth", type=int, help="events in a row (default: 8, or 40 where mishaps are counted)")
    parser.add_argument("--seconds", type=float, default=90, help="of a processor, for each walk")
    parser.add_argument("--tries", type=int, help="one walk only: boot.tries")
    parser.add_argument("--shared", action="store_true", help="one walk only: the slots share their records")
    parser.add_argument("--mishaps", type=int, help="one walk only: at most so many on a way")
    parser.add_argument("--direct", action="store_true", help="one walk only: a host boots the node directly")
    parser.add_argument("--stop", action="store_true", help="at the first violation")
    parser.add_argument("--memory", type=Path, help="a file that keeps what GRUB answered")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    judges.choose()
    print(f"judged by {judges.version()}", flush=True)
    failed = 0
    ways: tuple[Way, ...] = WAYS
    if options.tries is not None:
        script = STOCK if options.direct else SHIPPED
        ways = (Way(script, options.tries, options.shared, options.mishaps, options.direct),)
    for way in ways:
        begin = time.monotonic()
        depth = options.depth or (8 if way.mishaps is None else 40)
        result = run(way, depth=depth, seconds=options.seconds, stop=options.stop,
                     memory=options.memory if way.script != STOCK else None)  # fmt: skip
        whole = ", and there is no more to reach" if result.complete else ""
        print(
            f"{way}: {result.states} states, {result.transitions} transitions, depth {result.depth}{whole}, "
            f"{result.grub_runs} GRUB runs, {result.agent_runs} agent runs, {len(result.broken)} violations, "
            f"{time.monotonic() - begin:.0f} s",
            flush=True,
        )
        failed += len(result.broken)
        for violation in result.broken[:20]:
            print(f"  {violation.rule}: {violation.text}\n    " + "\n    ".join(violation.path))
        if way.cannot_hold:
            rules = {violation.rule for violation in result.violations} & way.cannot_hold
            print("  what can't hold there: " + "; ".join(sorted(rules)))
    return 1 if failed else 0


def run(
    way: Way, *, depth: int, seconds: float, stop: bool = False, memory: Path | None = None,
    begin: Iterable[State] | None = None,
) -> Result:  # fmt: skip
    """Do one walk, from every start, or from those that are given."""
    with (
        tempfile.TemporaryDirectory(prefix="manageboot-grub-") as directory,
        agent(tries=way.tries, shared=way.shared) as the_agent,
    ):
        grub = Grub(Path(directory), way.script, memory=memory)
        try:
            walk = Walk(grub, the_agent, way, stop=stop)
            return walk.walk(begin or starts(shipped=way.shipped, shared=way.shared), depth, seconds=seconds)
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
