"""Nodes that lose their power again and again while they go through upgrade after upgrade: `make soak`.

What ends a run before its last cut does not end the nodes: the same command goes on with their disks.

`soak run` lets them live; `soak judge` judges a round once more in which something was wrong.
"""

import argparse
import fcntl
import json
import multiprocessing
import os
import queue
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NamedTuple

from powercuts import soakcounts
from powercuts.lives import KINDS, life_of
from powercuts.recording import Life
from powercuts.soaknode import BEFORE, FINDING, Cutting, SoakNode, judge_once_more
from qemu_harness.cache import Cache
from qemu_harness.process import HarnessError

KIND = "guest"
BEGINNINGS_MAX = 4
"""A node that fails so often, not by what is looked for, is not begun anew."""
_LOOK_S = 0.5
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Earlier(NamedTuple):
    """What runs before have left of a node."""

    node: int
    runs: int
    """This one included."""
    cuttings: list[Cutting]


Message = Cutting | Earlier | str
"""A cut, or those of earlier runs, or why a node ended that should not have."""


def main() -> int:
    """Do what the command line says; return 1 if anything does not hold."""
    parser = argparse.ArgumentParser(prog="soak", description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    run_verb = verbs.add_parser("run", help="let nodes live")
    run_verb.add_argument("--cuts", type=int, default=500, help="how often the power goes, all nodes together")
    run_verb.add_argument("--seed", type=int, default=1)
    run_verb.add_argument("--nodes", type=int, default=os.cpu_count() or 1, help="so many at once")
    run_verb.add_argument("--report", type=_absolute, default="soak", help="the directory for nodes, counts, findings")
    judge = verbs.add_parser("judge", help="judge a finding once more")
    judge.add_argument("finding", type=Path, help="its directory")
    arguments = parser.parse_args()
    try:
        life = life_of(Cache.default(), KINDS[KIND])
        if arguments.verb == "judge":
            return show(life, arguments.finding)
        with _alone_in(arguments.report):
            return soak(life, arguments.cuts, arguments.seed, arguments.nodes, arguments.report)
    except HarnessError as error:
        print(f"soak: error: {error}", file=sys.stderr)
        return 2


def _absolute(path: str) -> Path:
    """Name a directory so that QEMU finds a disk in it from a directory of its own."""
    return Path(path).absolute()


@contextmanager
def _alone_in(report: Path) -> Iterator[None]:
    """Let no other soak use the same disks.

    Raises:
        HarnessError: one does.
    """
    report.mkdir(parents=True, exist_ok=True)
    with (report / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HarnessError(f"another soak uses {report}; wait for it, or choose another --report") from None
        yield


def soak(life: Life, wanted: int, seed: int, nodes: int, report: Path) -> int:
    """Let nodes live at once, and count; return the exit status."""
    begin_s = time.monotonic()
    shares = [wanted // nodes + (node < wanted % nodes) for node in range(nodes)]

    def count(found: Sequence[Cutting], runs: int) -> dict[str, Any]:
        """Count, and write it, so that whatever ends all of this leaves what was found."""
        counts = soakcounts.to_json(found, seed=seed, nodes=nodes, wanted=wanted, runs=runs)
        soakcounts.write(report / "soak.json", counts)
        return counts

    count([], 1)
    found, runs, troubles = _gather(
        [(life, seed, node, share, report) for node, share in enumerate(shares) if share], begin_s, count
    )
    counts = count(found, runs)
    if len(found) >= wanted:
        # A run that is complete is not gone on with.
        shutil.rmtree(report / "nodes", ignore_errors=True)
    print(soakcounts.to_table(counts))
    for cutting in found:
        if cutting.wrong:
            _explain(cutting, seed, report)
    for trouble in troubles:
        print(trouble, file=sys.stderr)
    return 2 if troubles else 1 if counts["violations"] else 0


def _gather(
    tasks: list[tuple[Life, int, int, int, Path]], begin_s: float, count: Callable[[Sequence[Cutting], int], object]
) -> tuple[list[Cutting], int, list[str]]:
    """Run a process for each node until all have done their share, or a signal ends them; count after each cut."""
    stop: Event = multiprocessing.Event()
    messages: multiprocessing.Queue[Message] = multiprocessing.Queue()
    ended: list[int] = []
    found: list[Cutting] = []
    runs = 1
    troubles: list[str] = []
    before = {number: signal.signal(number, lambda number, _: ended.append(number)) for number in _SIGNALS}
    try:
        running = [multiprocessing.Process(target=_live, args=(*task, stop, messages)) for task in tasks]
        for process in running:
            process.start()
        while any(process.is_alive() for process in running) or not messages.empty():
            if ended:
                stop.set()
            try:
                message = messages.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            if isinstance(message, Cutting):
                found.append(message)
                _say(message, len(found), time.monotonic() - begin_s)
                count(found, runs)
            elif isinstance(message, Earlier):
                found += message.cuttings
                runs = max(runs, message.runs)
                print(f"node {message.node} goes on after {len(message.cuttings)} cuts", flush=True)
            else:
                print(message, file=sys.stderr, flush=True)
                troubles.append(message)
        for process in running:
            process.join()
            if process.exitcode:
                troubles.append(f"the process of a node ended with exit status {process.exitcode}")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return found, runs, troubles


def _live(
    life: Life, seed: int, node: int, share: int, report: Path, stop: Event, messages: "multiprocessing.Queue[Message]"
) -> None:
    """Cut the power of one node so many times."""
    for number in _SIGNALS:
        # Who has started it says when it ends.
        signal.signal(number, signal.SIG_IGN)
    living = None
    for beginning in range(BEGINNINGS_MAX):
        try:
            living = SoakNode(Cache.default(), life, seed=seed, node=node, report=report, before=living)
            with living:
                if living.runs > 1 and beginning == 0:
                    messages.put(Earlier(node, living.runs, living.cuttings))
                # Without a slot, nothing boots any more.
                while len(living.cuttings) < share and all(cutting.slot for cutting in living.cuttings[-1:]):
                    cutting = None if stop.is_set() else living.cut(stop)
                    if cutting is None:
                        return
                    messages.put(cutting)
            return
        except Exception:  # noqa: BLE001  told by the process that counts, with all that is known
            # It ends this round, and its disk; what is left of the share begins with a new one.
            messages.put(f"node {node}, round {living.number if living else 1}: {traceback.format_exc()}")


def _say(cutting: Cutting, count: int, seconds: float) -> None:
    what = " ".join([*cutting.verbs, f"[{cutting.phase}{', at a write' if cutting.at_write else ''}]"])
    after = f"slot {cutting.slot}{' on trial' if cutting.is_trial else ''}" if cutting.slot else "NOTHING BOOTS"
    told = f", fallback: {', '.join(cutting.fallbacks)}" if cutting.fallbacks else ""
    wrong = f"  WRONG: {'; '.join(cutting.wrong)}" if cutting.wrong else ""
    print(
        f"{count:4} {seconds:6.0f} s  node {cutting.node} round {cutting.number}: {what} "
        f"{cutting.loss.split(':')[1]} of {cutting.pending} -> {after}{told}{wrong}",
        flush=True,
    )


def _explain(cutting: Cutting, seed: int, report: Path) -> None:
    directory = report / "findings" / f"seed{seed}-node{cutting.node}-round{cutting.number}"
    print(f"\nseed {seed}, node {cutting.node}, round {cutting.number}, {cutting.phase}: {'; '.join(cutting.wrong)}")
    if (directory / FINDING).exists():
        for line in json.loads((directory / FINDING).read_text())["around"]:
            print(f"    {line}")
    if (directory / BEFORE).exists():
        print(f"    once more: python -m powercuts.soak judge {directory}")


def show(life: Life, directory: Path) -> int:
    """Judge a finding once more, and print what is found."""
    with tempfile.TemporaryDirectory(prefix="manageboot-soak.") as home:
        cut, verdict = judge_once_more(life, directory, Path(home))
    print(f"cut: {cut.label}")
    print(f"slot that boots: {verdict.slot or 'none'}{', on trial' if verdict.is_trial else ''}")
    print("\n".join(verdict.wrong) or "all rules hold: what was wrong was seen while the node was on")
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
