"""A sample of the judged states, booted for real: in QEMU, from the firmware on, to a system that is healthy."""

import json
import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from powercuts.cuts import Cut
from powercuts.judge import Verdict
from qemu_harness.cache import Cache
from qemu_harness.machine import VirtualMachine
from qemu_harness.process import HarnessError
from qemu_harness.slot import VERSION_FILE

_FAILED = "systemctl list-units --failed --plain --no-legend | cut -d' ' -f1"
# Of a host whose guest somebody has broken, the guest is all that may fail.
_BROKEN = "test ! -e /boot/grub/guest-is-broken || echo guestos.service"


class Sound(NamedTuple):
    """A state in which all rules hold, and whose system has to come up."""

    cut: Cut
    step: str


class Booted(NamedTuple):
    """What became of a state that was booted for real."""

    cut: str
    step: str
    slot: str
    """Which had to boot, by what GRUB did in the judge."""
    is_trial: bool
    seconds: float
    """From power on until the system had answered."""
    wrong: list[str]
    """What was not as it had to be; empty: the system is healthy."""


def chosen(states: Sequence[Sound], count: int, dice: random.Random) -> list[Sound]:
    """Choose some states, spread over the steps; return them in the order in which a recording comes to them."""
    by_step: dict[str, list[Sound]] = {}
    for state in states:
        by_step.setdefault(state.step, []).append(state)
    found: list[Sound] = []
    while by_step and len(found) < count:
        for name in dice.sample(sorted(by_step), min(len(by_step), count - len(found))):
            alike = by_step[name]
            found.append(alike.pop(dice.randrange(len(alike))))
            if not alike:
                del by_step[name]
    return sorted(found, key=lambda state: state.cut.position)


def boot(cache: Cache, disk: Path, state: Sound, verdict: Verdict, versions: Collection[str]) -> Booted:
    """Boot a disk, and see what comes up. The disk stays as it is: what the node writes goes to a layer over it.

    Args:
        cache: of the harness.
        disk: as the power cut has left it.
        state: its name.
        verdict: what the judges have said of it.
        versions: those that the slot holds whole which boots.
    """
    begin_s = time.monotonic()
    try:
        with VirtualMachine(cache, disk) as machine:
            machine.wait_until_up()
            wrong = list(unlike(lambda line: machine.check(line).stdout.strip(), verdict, versions))
    except (HarnessError, ValueError, LookupError, OSError) as error:
        # What a node says that is no answer, too, is a finding of this state, and not the end of all others.
        wrong = [str(error) if isinstance(error, HarnessError) else repr(error)]
    seconds = round(time.monotonic() - begin_s, 1)
    return Booted(state.cut.label, state.step, verdict.slot, verdict.is_trial, seconds, wrong)


def unlike(ask: Callable[[str], str], verdict: Verdict, versions: Collection[str]) -> Iterator[str]:
    """Say what of a system that is up is not as it has to be.

    Args:
        ask: runs a line of the shell on the node, which has to succeed, and returns what it has printed.
        verdict: what the judges have said of its disk.
        versions: those of which it may be one.
    """
    failed, excused = ask(_FAILED).split(), ask(_BROKEN).split()
    if failed != excused:
        yield f"units have failed: {', '.join(failed) or 'none'}, and not {', '.join(excused) or 'none'}"
    version = ask(f"cat /{VERSION_FILE}")
    if version not in versions:
        yield f"the system is {version}, and slot {verdict.slot} holds {' or '.join(sorted(versions))}"
    last = ask("manageboot history | tail -n1")
    seen: dict[str, Any] = json.loads(ask("manageboot status --json"))
    if seen["booted"] != verdict.slot:
        yield f"status says that slot {seen['booted']} is booted, and slot {verdict.slot} has to be"
    # On a host, the start of the guest may have confirmed the trial by now.
    if (seen["state"] == "trial") != verdict.is_trial and not (verdict.is_trial and "confirmed" in last):
        yield f"status says {seen['state']}, and GRUB has to start {'a trial' if verdict.is_trial else 'no trial'}"
