"""Cut the power at every instant of a node's life: `make power-cuts`, `make power-cuts-full`.

`powercuts run` records what is not recorded yet, judges every state, and writes a report; `powercuts judge` judges one
state once more, and shows it.
"""

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path

from powercuts import cuts, releaselife
from powercuts.campaign import Result, Walk
from powercuts.lives import KINDS
from powercuts.peerfigures import table
from powercuts.peers import PEERS
from powercuts.realboots import Sound
from powercuts.recorded import boot_all, judge_all, recorded
from powercuts.report import JUDGE, write_report
from qemu_harness.process import HarnessError
from support import judges

LIVES = (*KINDS, releaselife.NAME)
QUICK = ("guest",)
SAMPLES = 4


def main() -> int:
    """Do what the command line says; return 1 if a rule does not hold in any state."""
    parser = argparse.ArgumentParser(prog="powercuts", description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="judge every state of recordings")
    run.add_argument("recordings", nargs="*", metavar="RECORDING", help=f"of {', '.join(LIVES)}; by default {QUICK[0]}")
    run.add_argument("--all", action="store_true", help="all of them")
    run.add_argument("--peers", action="store_true", help=f"those of other procedures: {', '.join(PEERS)}")
    run.add_argument("--seed", type=int, default=1, help="of the samples")
    run.add_argument("--samples", type=int, default=SAMPLES, help="losses at a write, where there are too many")
    run.add_argument("--report", type=Path, default=Path("power-cuts"), help="the directory of the report")
    run.add_argument(
        "--boots", type=int, default=0, help="how many states are booted for real, all recordings together"
    )
    judge = verbs.add_parser("judge", help="judge one state once more")
    judge.add_argument("recording", metavar="RECORDING")
    judge.add_argument("cut", metavar="CUT", help="as a report names it")
    judge.add_argument("--boot", action="store_true", help="boot it for real, too")
    arguments = parser.parse_args()
    try:
        if arguments.verb == "judge":
            return show(arguments.recording, arguments.cut, is_booted=arguments.boot)
        quick = list(PEERS) if arguments.peers else list(QUICK)
        names = list(LIVES) if arguments.all else arguments.recordings or quick
        return campaign(names, arguments.seed, arguments.samples, arguments.boots, arguments.report)
    except HarnessError as error:
        print(f"powercuts: error: {error}", file=sys.stderr)
        return 2


def campaign(names: list[str], seed: int, samples: int, boots: int, report: Path) -> int:
    """Record and judge, boot some states for real, and write the report as results come; return the exit status."""
    begin_s = time.monotonic()
    results: list[Result] = []
    shares = [boots // len(names) + (number < boots % len(names)) for number in range(len(names))]
    lost: list[str] = []

    def write() -> None:
        missing = [name for name in names if name not in {result.name for result in results}]
        seconds = time.monotonic() - begin_s
        write_report(report, results, seed=seed, samples=samples, seconds=seconds, missing=missing)

    # What can't be written is better known now than in an hour.
    write()
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        futures = {
            pool.submit(judge_apart, name, seed, samples, share): name
            for name, share in zip(names, shares, strict=True)
        }
        try:
            for future in as_completed(futures):
                name, error = futures[future], future.exception()
                if isinstance(error, Exception):
                    lost.append(name)
                    print(f"powercuts: error: {name}: {''.join(_words_of(error))}", file=sys.stderr, flush=True)
                    continue
                result = future.result()
                print(f"{name}: {result.states} states, {len(result.violations)} violations", flush=True)
                results.append(result)
                results.sort(key=lambda result: names.index(result.name))
                with suppress(OSError):
                    write()
        except BaseException:
            # None begins any more.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    write()
    states = sum(result.states for result in results)
    violations = [violation for result in results for violation in result.violations]
    for violation in violations[:10]:
        print(f"\n{violation.recording}, {violation.step}: {'; '.join(violation.wrong)}")
        print("\n".join(f"    {line}" for line in violation.around))
        print(f"    once more: {JUDGE} {violation.recording} {violation.cut}")
    booted = [(result.name, one) for result in results for one in result.booted]
    unhealthy = [(name, one) for name, one in booted if one.wrong]
    for name, one in unhealthy:
        print(f"\n{name}, {one.step}, booted for real: {'; '.join(one.wrong)}")
        print(f"    once more: {JUDGE} --boot {name} {one.cut}")
    print(table([result for result in results if result.peers]), end="")
    print(f"{states} distinct states, {len(violations)} violations", end="; ")
    print(f"{len(booted)} booted for real, {len(booted) - len(unhealthy)} healthy; report: {report}/index.html")
    if lost:
        print(f"powercuts: error: nothing is known of {', '.join(lost)}", file=sys.stderr)
        return 2
    # Those of others are what was looked for.
    return 1 if unhealthy or any(result.violations for result in results if not result.peers) else 0


def judge_apart(name: str, seed: int, samples: int, boots: int) -> Result:
    """Judge a recording in a process of its own; whatever ends that ends none of the others."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as alone:
        return alone.submit(judge_all, name, seed, samples, boots).result()


def _words_of(error: Exception) -> list[str]:
    """Say what went wrong: in one line where that is known, or where in the program it was."""
    return [str(error)] if isinstance(error, HarnessError) else traceback.format_exception(error)


def show(name: str, label: str, *, is_booted: bool) -> int:
    """Judge one state, and boot it if that is asked for; print what is found."""
    cut = cuts.parse(label)
    recording = recorded(name)
    os.environ["PATH"] = judges.path_of(recording.release)
    with Walk(recording, seed=0, samples=0) as walk, walk.at(cut) as (step, verdict):
        print(f"step: {step.name}: {step.what}")
        print("\n".join(walk.around(cut.position)))
        print(f"slot that boots: {verdict.slot or 'none'}{', on trial' if verdict.is_trial else ''}")
        print("\n".join(verdict.wrong) or "all rules hold")
    if is_booted and not verdict.wrong:
        [booted] = boot_all(recording, [Sound(cut, step.name)], lambda _: None)
        print("\n".join(booted.wrong) or f"booted for real: healthy after {booted.seconds:.0f} s")
        return 1 if booted.wrong else 0
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
