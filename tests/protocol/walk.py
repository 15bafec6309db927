"""The exhaustive walk: every event in every state that real GRUB and the real agent can reach, and what must hold.

Run it with `python -m tests.protocol.walk`; `--help` tells the rest.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import manageboot.bootloader

ROOT = Path(__file__).parents[2]
if str(ROOT / "tests") not in sys.path:
    # As a program, and not under pytest, the tests' own modules have to be found.
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from protocol.blocks import GARBAGE, variables  # noqa: E402
from protocol.grubemu import Grub  # noqa: E402
from protocol.node import Agent, State, agent, fresh, other  # noqa: E402
from protocol.rules import Rules, Violation, ask_for, judged  # noqa: E402
from protocol.start import starts  # noqa: E402

SHIPPED = Path(manageboot.bootloader.__file__).with_name("grub.cfg")
STOCK = Path(__file__).with_name("stock.cfg")
VERBS = ("upgrade-install", "upgrade-commit", "upgrade-cancel", "confirm", "rollback", "arrived")


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


class Walk:
    """One walk, with one grub.cfg and one setting of boot.tries."""

    def __init__(self, grub: Grub, the_agent: Agent, *, shipped: bool, tries: int, stop: bool) -> None:
        self.shipped = shipped
        self.grub = grub
        self.agent = the_agent
        self.stop = stop
        self.rules = Rules(grub, the_agent, shipped=shipped, tries=tries)
        self.paths = self.rules.paths
        self.transitions = 0

    def walk(self, depth: int, *, seconds: float) -> Result:
        layer = list(dict.fromkeys(starts(shipped=self.shipped)))
        self.paths.update(dict.fromkeys(layer, (None, "start")))
        deadline = time.monotonic() + seconds
        reached = 0
        late = False
        while layer and reached < depth and not late and not (self.stop and self.rules.violations):
            reached += 1
            following: list[State] = []
            for state in layer:
                late = time.monotonic() > deadline
                if late:
                    break
                for event, after in self.events(state):
                    self.transitions += 1
                    if after not in self.paths:
                        self.paths[after] = (state, event)
                        following.append(after)
                if self.stop and self.rules.violations:
                    break
            layer = following
        return Result(
            len(self.paths), self.transitions, self.grub.runs, self.agent.runs, list(self.rules.violations.values()),
            reached - late, not layer, frozenset(self.rules.cells),
        )  # fmt: skip

    def events(self, state: State) -> Iterator[tuple[str, State]]:
        if state.booted is None:
            self.rules.check_convergence(state)
            yield from self.boots(state)
            for slot in state.loadable:
                words = f"dfinity.system={slot}"
                if self.shipped:
                    words += f" manageboot.slot={slot} manageboot.cycle= manageboot.fault=menu"
                yield f"slot {slot} by the menu", state._replace(booted=slot, arguments=words, boot_id=boot_id(state))
            if state.block != GARBAGE:
                yield "the block is damaged", state._replace(block=GARBAGE, undo=None)
            return
        for verb in VERBS:
            run = self.agent.run(state, verb)
            self.rules.check_verb(state, verb, run.states, run.refusal)
            for number, written in enumerate(run.states):
                after = judged(state, verb, written, run.refusal)
                end = number == len(run.states) - 1
                yield (verb if end else f"{verb}, killed after step {number + 1}"), after
                yield f"{verb}, power cut after step {number + 1}", off(after)
        yield "reboot", off(state._replace(undo=None))
        if state.undo is not None:
            yield "power loss that undoes GRUB's write", off(state._replace(block=state.undo[0], undo=None))
            yield "power loss", off(state._replace(undo=None))

    def boots(self, state: State) -> Iterator[tuple[str, State]]:
        named = variables(state.block).get("boot_alternative", "A")
        for name, question in (
            ("GRUB", ask_for(state)),
            ("GRUB, save_env fails", ask_for(state)._replace(writable=False)),
            (f"GRUB, the kernel of {named} missing", ask_for(state)._replace(loadable=other(named))),
        ):
            if not set(question.loadable) <= set(state.loadable) or not question.loadable:
                continue
            answer = self.grub.ask(question)
            self.rules.check_boot(state, name, question, answer)
            if answer.slot is not None:
                undo = (state.block,) if answer.block != state.block else None
                yield name, state._replace(booted=answer.slot, block=answer.block, undo=undo,
                                           arguments=answer.arguments, boot_id=boot_id(state))  # fmt: skip
            else:
                yield f"{name}, stuck; power cycle", state._replace(block=answer.block, undo=None)


def boot_id(state: State) -> str:
    """Name a boot as no record names one."""
    return fresh("i", f"{state.records}")


def off(state: State) -> State:
    return state._replace(booted=None, undo=None, arguments="", boot_id="i0", mark=None)


def main() -> int:
    """Walk with the shipped grub.cfg and with a stock-like one, and print what was found."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--depth", type=int, default=8, help="events in a row")
    parser.add_argument("--seconds", type=float, default=90, help="for each of the three walks")
    parser.add_argument("--tries", type=int, nargs="*", default=[1, 3])
    parser.add_argument("--no-stock", action="store_true")
    parser.add_argument("--stop", action="store_true", help="at the first violation")
    parser.add_argument("--memory", type=Path, help="a file that keeps what GRUB answered")
    parser.add_argument("--script", type=Path, default=SHIPPED)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    failed = 0
    for script, tries in [(options.script, tries) for tries in options.tries] + [(STOCK, 1)] * (not options.no_stock):
        begin = time.monotonic()
        result = run(script, tries=tries, depth=options.depth, seconds=options.seconds, stop=options.stop,
                     memory=options.memory if script != STOCK else None)  # fmt: skip
        whole = ", and there is no more to reach" if result.complete else ""
        print(
            f"{script.name}, {tries} {'try' if tries == 1 else 'tries'}: {result.states} states, "
            f"{result.transitions} transitions, depth {result.depth}{whole}, {result.grub_runs} GRUB runs, "
            f"{result.agent_runs} agent runs, {len(result.violations)} violations, {time.monotonic() - begin:.0f} s"
        )
        rules = Counter(violation.rule for violation in result.violations)
        if script == STOCK:
            print("  what a stock grub.cfg cannot hold: " + "; ".join(sorted(rules)))
            continue
        failed += len(result.violations)
        for violation in result.violations[:20]:
            print(f"  {violation.rule}: {violation.text}\n    " + "\n    ".join(violation.path))
    return 1 if failed else 0


def run(
    script: Path, *, tries: int, depth: int, seconds: float, stop: bool = False, memory: Path | None = None
) -> Result:
    """Do one walk."""
    with tempfile.TemporaryDirectory(prefix="manageboot-grub-") as directory, agent(tries=tries) as the_agent:
        grub = Grub(Path(directory), script, memory=memory)
        try:
            return Walk(grub, the_agent, shipped=script != STOCK, tries=tries, stop=stop).walk(depth, seconds=seconds)
        finally:
            grub.remember()


if __name__ == "__main__":
    sys.exit(main())
