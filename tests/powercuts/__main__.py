"""Cut the power at every instant of a node's life: `make power-cuts`, `make power-cuts-full`.

`powercuts run` records what is not recorded yet, judges every state, and writes a report; `powercuts judge` judges one
state once more, and shows it.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from powercuts import cuts
from powercuts.campaign import Result, Walk
from powercuts.lives import KINDS
from powercuts.peerfigures import table
from powercuts.peers import PEERS
from powercuts.recorded import judge_all, recorded
from powercuts.report import JUDGE, write_report
from qemu_harness.process import HarnessError
from support import judges

QUICK = ("guest",)
SAMPLES = 4


def main() -> int:
    """Do what the command line says; return 1 if a rule does not hold in any state."""
    parser = argparse.ArgumentParser(prog="powercuts", description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="judge every state of recordings")
    run.add_argument("recordings", nargs="*", metavar="RECORDING", help=f"of {', '.join(KINDS)}; by default {QUICK[0]}")
    run.add_argument("--all", action="store_true", help="all of them")
    run.add_argument("--peers", action="store_true", help=f"those of other procedures: {', '.join(PEERS)}")
    run.add_argument("--seed", type=int, default=1, help="of the samples")
    run.add_argument("--samples", type=int, default=SAMPLES, help="losses at a write, where there are too many")
    run.add_argument("--report", type=Path, default=Path("power-cuts"), help="the directory of the report")
    judge = verbs.add_parser("judge", help="judge one state once more")
    judge.add_argument("recording", metavar="RECORDING")
    judge.add_argument("cut", metavar="CUT", help="as a report names it")
    arguments = parser.parse_args()
    try:
        if arguments.verb == "judge":
            return show(arguments.recording, arguments.cut)
        quick = list(PEERS) if arguments.peers else list(QUICK)
        names = list(KINDS) if arguments.all else arguments.recordings or quick
        return campaign(names, arguments.seed, arguments.samples, arguments.report)
    except HarnessError as error:
        print(f"powercuts: error: {error}", file=sys.stderr)
        return 2


def campaign(names: list[str], seed: int, samples: int, report: Path) -> int:
    """Record and judge, and write the report; return the exit status."""
    begin_s = time.monotonic()
    results: list[Result] = []
    with ProcessPoolExecutor(max_workers=os.cpu_count(), max_tasks_per_child=1) as pool:
        futures = {pool.submit(judge_all, name, seed, samples): name for name in names}
        for future in as_completed(futures):
            result = future.result()
            results.append(result)
            print(f"{result.name}: {result.states} states, {len(result.violations)} violations", flush=True)
    results.sort(key=lambda result: names.index(result.name))
    write_report(report, results, seed=seed, samples=samples, seconds=time.monotonic() - begin_s)
    states = sum(result.states for result in results)
    violations = [violation for result in results for violation in result.violations]
    for violation in violations[:10]:
        print(f"\n{violation.recording}, {violation.step}: {'; '.join(violation.wrong)}")
        print("\n".join(f"    {line}" for line in violation.around))
        print(f"    once more: {JUDGE} {violation.recording} {violation.cut}")
    print(table([result for result in results if result.peers]), end="")
    print(f"{states} distinct states, {len(violations)} violations; report: {report}/index.html")
    # Those of others are what was looked for.
    return 1 if any(result.violations for result in results if not result.peers) else 0


def show(name: str, label: str) -> int:
    """Judge one state, and print what is found."""
    cut = cuts.parse(label)
    recording = recorded(name)
    os.environ["PATH"] = judges.path_of(recording.release)
    with Walk(recording, seed=0, samples=0) as walk:
        step = walk.go_to(cut)
        verdict = walk.judge_one(cut, step)
        print(f"step: {step.name}: {step.what}")
        print("\n".join(walk.around(cut.position)))
        print(f"slot that boots: {verdict.slot or 'none'}{', on trial' if verdict.is_trial else ''}")
        print("\n".join(verdict.wrong) or "all rules hold")
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
