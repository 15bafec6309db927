"""The campaign can fail: it has to find each of the deliberate faults in the agent.

Two lives in QEMU have them all, each in a step of its own: a changed file lies over the right one meanwhile, and all is
flushed before the next one. The power is cut at every instant of such a step, up to the first violation. The same lives
without the faults have none.
"""

import argparse
import shlex
import sys
import tempfile
from collections import ChainMap
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from powercuts import releaselife
from powercuts.campaign import Result, Walk
from powercuts.faults import (
    BLOCK_BY_RENAME,
    FLOOR_FIRST,
    GRUB_NOT_FORCED,
    HEADER_FIRST,
    HISTORY_BY_RENAME,
    MUTANTS,
    NO_BLOCK_FLUSH,
    NO_DATA_FLUSH,
    NO_FLOOR_FLUSH,
    OF_RELEASES,
    OF_UPDATES,
    RECORD_FIRST,
    TRUSTED_FIRST,
    Mutant,
    text_of,
)
from powercuts.lives import ARRIVED, KINDS, do, install, life_of, reboot, up
from powercuts.recording import Life, Step, load, record
from powercuts.replay import scratch
from qemu_harness.cache import Cache
from qemu_harness.machine import VirtualMachine
from qemu_harness.node import UPDATES
from qemu_harness.process import HarnessError
from support import judges
from support.trials import arm

SEED, SAMPLES = 1, 4
STRIDE = 16
"""Of hundreds of writes that nobody flushes, each sixteenth is judged."""

_PACKAGES = "/usr/lib/python3/dist-packages"
# Nothing of it reaches the disk: the root is read-only, and /run lies in memory.
_LAY_OVER = "cat >/run/fault.py && mount --bind /run/fault.py {}"
_TAKE_AWAY = "umount {} && rm /run/fault.py"
# On the disk that GRUB writes to, each flush of var would force its write down, and hide the fault.
_VAR_IN_MEMORY = "[Mount]\nWhat=tmpfs\nWhere=/var\nType=tmpfs\n"
_LAY_IN = (
    "set -e; mount /dev/disk/by-partlabel/B_root /mnt; tee {} >/dev/null; "
    f"printf %s {shlex.quote(_VAR_IN_MEMORY)} >/mnt/etc/systemd/system/var.mount; umount /mnt"
)


def life_with(cache: Cache, faults: Collection[Mutant]) -> Life:
    """Give the life of a node in which each fault has its step, and say which of them the node has.

    Args:
        cache: of the images.
        faults: those that work.
    """
    # Each brings another image than the slot holds: what is there already would hide what came too early.
    v2, v3 = UPDATES
    commit = do("manageboot upgrade-commit --no-reboot")
    confirm = do("manageboot confirm")

    def faulty(mutant: Mutant, action: Callable[[VirtualMachine], None], *words: str, installs: str = "") -> list[Step]:
        step = Step(mutant.name, mutant.file, action, *words, installs=installs)
        return with_fault(mutant, step, faults)

    def lay_in(machine: VirtualMachine) -> None:
        fault = GRUB_NOT_FORCED
        path = f"/mnt{_PACKAGES}/{fault.file}"
        machine.check(_LAY_IN.format(path), stdin=text_of(fault, is_faulty=fault in faults).encode())

    steps = [
        Step("first boot", "", up, "A", "A"),
        *faulty(NO_DATA_FLUSH, install(v2), "A", "A", "A", "upgrade-install", installs="B"),
        *faulty(HEADER_FIRST, install(v3), "A", "A", "A", "upgrade-install", installs="B"),
        *faulty(RECORD_FIRST, install(v2), "A", "A", "A", "upgrade-install", installs="B"),
        *faulty(BLOCK_BY_RENAME, commit, "AB", "B", "A", "upgrade-commit"),
        Step("cancel", "", do("manageboot upgrade-cancel"), "AB", "A", "A", "upgrade-cancel"),
        *faulty(HISTORY_BY_RENAME, commit, "AB", "B", "A", "upgrade-commit"),
        Step("trial of v2", "", reboot(ARRIVED), "AB", "A"),
        *faulty(NO_BLOCK_FLUSH, confirm, "AB", "B", "B", "confirm"),
        Step("rollback", "", do("manageboot rollback --no-reboot"), "AB", "A", "B", "rollback"),
        Step("trial of v1", "", reboot(ARRIVED), "AB", "B"),
        *faulty(TRUSTED_FIRST, confirm, "AB", "A", "A", "confirm"),
        Step("var in memory", "", lay_in, "A", "A", "A", meddles="B"),
        Step("rollback to v2", "", lambda machine: arm(machine, "rollback"), "AB", "B", "A"),
        Step(GRUB_NOT_FORCED.name, "", reboot(ARRIVED), "AB", "A"),
    ]  # fmt: skip
    return replace(life_of(cache, KINDS["guest"]), name="faults", title="faults of the agent", steps=steps)


def release_life_with(cache: Cache, faults: Collection[Mutant]) -> Life:
    """Give the life of a node that confirms two signed releases, each with a fault, and say which of them it has.

    Args:
        cache: of the images.
        faults: those that work.
    """
    life = releaselife.release_life(cache)
    known = {step.name: step for step in life.steps}
    confirm = known["confirm"]
    of_v3 = confirm._replace(after="A", slot="A", vouched=confirm.vouched._replace(floor=confirm.vouched.floor + 1))
    steps = [
        *(known[name] for name in ("first boot", "update to v2", "commit v2")),
        *with_fault(FLOOR_FIRST, confirm, faults),
        *(known[name] for name in ("update to v3", "commit v3")),
        *with_fault(NO_FLOOR_FLUSH, of_v3, faults),
    ]
    return replace(life, name="release-faults", title="faults of the agent, with releases", steps=steps)


def with_fault(mutant: Mutant, step: Step, faults: Collection[Mutant]) -> list[Step]:
    """Give a step under the name of a fault, and one that flushes all; it has the fault if that is one of some."""
    laid = mutant in faults
    action = over(mutant, step.action) if laid else step.action
    flush = taken_away(mutant) if laid else do("sync")
    return [
        step._replace(name=mutant.name, what=mutant.file, action=action),
        Step(f"{mutant.name}, flushed", "", flush, step.after, step.after, step.slot),
    ]


def over(mutant: Mutant, action: Callable[[VirtualMachine], None]) -> Callable[[VirtualMachine], None]:
    """Give an action during which a file of the agent has a fault."""
    path = f"{_PACKAGES}/{mutant.file}"

    def perform(machine: VirtualMachine) -> None:
        machine.check(_LAY_OVER.format(path), stdin=text_of(mutant, is_faulty=True).encode())
        action(machine)

    return perform


def taken_away(mutant: Mutant) -> Callable[[VirtualMachine], None]:
    """Give the action that takes a fault away, and flushes all that it has left."""
    return do(_TAKE_AWAY.format(f"{_PACKAGES}/{mutant.file}"), "sync")


def judged(faults: Sequence[Mutant], *, wanted: Sequence[Mutant] = MUTANTS) -> list[Result]:
    """Record the lives of nodes, and judge the steps of faults, each up to the first violation.

    Args:
        faults: those that the nodes have.
        wanted: those whose steps are judged, whether they have them or not; a life ends with the last one.
    """
    lives = ((life_with, OF_UPDATES), (release_life_with, OF_RELEASES))
    shares = ((life, [mutant.name for mutant in of_it if mutant in wanted]) for life, of_it in lives)
    return [_judged(life(Cache.default(), faults), names) for life, names in shares if names]


def _judged(life: Life, names: Collection[str]) -> Result:
    last = max(number for number, step in enumerate(life.steps) if step.name in names)
    with tempfile.TemporaryDirectory(prefix="manageboot-mutant.", dir=scratch()) as directory:
        place = Path(directory, "recording")
        life = replace(life, steps=life.steps[: last + 1])
        record(Cache.default(), life, place, lambda step: print(f"    {step}", file=sys.stderr, flush=True))
        with Walk(load(place), seed=SEED, samples=SAMPLES, stride=STRIDE) as walk:
            return walk.run(names, stop=True)


def main(words: Sequence[str] | None = None) -> int:
    """Try every fault, and none; print which rule found it. Return 1 if one was not found."""
    parser = argparse.ArgumentParser(prog="powercuts.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of faults; by default all, and none")
    names = parser.parse_args(words).names
    if unknown := set(names) - {mutant.name for mutant in MUTANTS}:
        parser.error(f"there is no fault {', '.join(sorted(unknown))}")
    judges.choose()
    print(f"judged by {judges.version()}", flush=True)
    tried = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    try:
        missed = _tell(judged(tried, wanted=tried), tried, is_faulty=True)
        blamed = 0 if names else _tell(judged(()), MUTANTS, is_faulty=False)
    except HarnessError as error:
        print(f"powercuts.mutants: error: {error}", file=sys.stderr)
        return 2
    return 1 if missed or blamed else 0


def _tell(results: Sequence[Result], steps: Sequence[Mutant], *, is_faulty: bool) -> int:
    """Print what was found in each step; return in how many of them it is not what it should be."""
    found = {violation.step: violation for result in results for violation in result.violations}
    states = ChainMap(*(dict(result.by_step) for result in results))
    for mutant in steps:
        violation = found.get(mutant.name)
        rule = "; ".join(violation.wrong) if violation else "nothing found"
        print(
            f"{mutant.name if is_faulty else 'no fault'}: {rule}, after {states[mutant.name]} states",
            flush=True,
        )
        if violation:
            print(f"        {violation.cut}", flush=True)
    wrong = sum((mutant.name in found) != is_faulty for mutant in steps)
    print(f"{len(steps)} steps {'with faults' if is_faulty else 'without a fault'}, {len(found)} found", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
