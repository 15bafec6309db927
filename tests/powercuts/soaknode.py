"""A node that loses its power again and again: its disk, round after round, and the judges between them."""

import json
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from manageboot.events import history
from powercuts.agentjudge import agent
from powercuts.cuts import Cut, parse
from powercuts.filesystems import FileSystem
from powercuts.judge import Judge, Told, Verdict
from powercuts.pending import Pending, Write
from powercuts.powerswitch import PowerSwitch
from powercuts.recording import LAYOUTS, Life, Recording, places_of
from powercuts.replay import Replay, scratch
from powercuts.soakdisk import SoakDisk
from powercuts.soakplan import Plan
from powercuts.soakround import Belief, Driver, PowerGone, Round
from powercuts.vouched import Vouched
from qemu_harness.cache import Cache
from qemu_harness.filesystem import copy_into
from qemu_harness.machine import VirtualMachine
from qemu_harness.node import UPDATES
from qemu_harness.process import HarnessError
from qemu_harness.writelog import Kind, Request, read_cut_log

DISK, LOG, BEFORE, FINDING = "disk.img", "writes.log", "before.img", "finding.json"
AROUND = 20
KEPT_MAX = 4
"""Of so many findings of a node, disk and log are kept: one that stays wrong would fill the disk of the machine."""
ROOM_LEFT = 8 << 30
"""And only with so many bytes to spare, since QEMU stops a node where there is no room for what it writes."""
_END_S = 3.0
_ONE_PROCESSOR = ("-smp", "1")
"""There is a node for each core; a second processor costs time in which it waits for the first."""
_SUPER_BLOCK = {"A_var", "B_var", "config"}


@dataclass(frozen=True)
class Cutting:
    """One power cut, and what was found after it."""

    node: int
    number: int
    phase: str
    at_write: bool
    loss: str
    """Which of the writes since the last flush are left."""
    pending: int
    """How many there were."""
    boots: int
    verbs: list[str]
    confirmed: int
    fallbacks: list[str]
    """The causes of those that the node has told of."""
    slot: str
    """Which boots next, by GRUB's word."""
    is_trial: bool
    seconds: float
    cpu_seconds: float
    """What the node and its judges have used of processors."""
    wrong: list[str]
    """What does not hold; empty: all does."""


class Finding(NamedTuple):
    """What a directory of a finding tells, beside the disk before the round and its log."""

    seed: int
    cutting: Cutting
    told: Told
    cut: str
    around: list[str]


class SoakNode:
    """A node and its disk; a context manager."""

    def __init__(
        self, cache: Cache, life: Life, *, seed: int, node: int, report: Path, before: "SoakNode | None" = None
    ) -> None:
        """Take a node that has never booted, or the one that another run has left.

        Args:
            cache: of the harness.
            life: says which node; its steps do not count.
            seed: of all nodes.
            node: the number of this one.
            report: where its disk lies between two rounds, and where rounds are kept in which something was wrong.
            before: this node, where its disk is no longer to be used.
        """
        self._cache = cache
        self._life = life
        self._seed = seed
        self._node = node
        self._findings = report / "findings"
        self._directory = report / "nodes" / f"seed{seed}-node{node}"
        self._plan = Plan(f"{seed} {node}")
        self._belief = Belief()
        self._is_trial = False
        self._slot = "A"
        self.number = before.number if before else 0
        """Of the round, from 1 on; those that do not count have one too."""
        self._kept = 0
        self._begins_anew = before is not None
        self.runs = before.runs if before else 1
        """How many runs its cuts are of."""
        self.cuttings = before.cuttings if before else []
        """What was found at each, those of earlier runs included."""

    def __enter__(self) -> Self:
        life = self._life
        with ExitStack() as stack:
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="manageboot-soak.", dir=scratch()))
            self._home = Path(home)
            if self._begins_anew:
                shutil.rmtree(self._directory, ignore_errors=True)
            build = f"{life.disk.parent.name} {life.media.parent.name}"
            self._disk = SoakDisk(self._directory, life.disk, build)
            self._base = self._disk.path
            places = places_of(self._base, LAYOUTS[life.system])
            self._replay = stack.enter_context(Replay.of_slots(self._base, self._home / DISK, places, life.versions))
            self._pending = Pending(self._replay)
            found = stack.enter_context(agent(self._replay.path, places))
            self._judge = Judge(recording_of(life, places), self._replay, found, self._home)
            self._newest_event = self._events(0)[1]
            if self._disk.notes:
                self._go_on(**self._disk.notes)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def cut(self, stop: Event) -> Cutting | None:
        """Live a round, lose the power, and be judged.

        Returns:
            What was found; None: the round was ended from outside, and does not count.
        """
        self.number += 1
        begin_s, begin_cpu_s = time.monotonic(), _cpu_seconds()
        log = self._home / LOG
        log.unlink(missing_ok=True)
        log.touch()
        lived = self._live(log, stop)
        if lived is None:
            return None
        requests = list(read_cut_log(log))
        belief = self._belief
        told = Told(belief.may_boot, belief.runs_in, belief.again, self._newest_event, "", belief.installed)
        whole = play(self._replay, self._pending, log, requests)
        pending = len(self._pending.sizes)
        cut = self._plan.lose(max(len(requests) - 1, 0), self._pending.sizes, whole)
        self._pending.settle(cut)
        verdict = self._judge.judge(told)
        fallbacks, newest = self._events(self._newest_event + 1)
        wrong = [*lived.wrong, *verdict.wrong]
        found = Cutting(
            self._node, self.number, lived.phase.value, lived.at_write, cut.label, pending, lived.boots, lived.verbs,
            lived.confirmed, fallbacks, verdict.slot, verdict.is_trial, round(time.monotonic() - begin_s, 1),
            round(_cpu_seconds() - begin_cpu_s, 1), wrong,
        )  # fmt: skip
        if wrong:
            self._keep(Finding(self._seed, found, told, cut.label, self._around(requests)))
        self._newest_event = max(newest, self._newest_event)
        self._slot, self._is_trial = verdict.slot, verdict.is_trial
        self.cuttings.append(found)
        # The disk of the next round is what was judged.
        self._disk.advance(((one.offset, self._replay.read(one.offset, one.size)) for one in requests), self._notes())
        return found

    def _notes(self) -> dict[str, Any]:
        """Say all that is known of the node, for a run that goes on with it."""
        return {
            "number": self.number,
            "runs": self.runs,
            "slot": self._slot,
            "is_trial": self._is_trial,
            "newest_event": self._newest_event,
            "belief": asdict(self._belief),
            "typical_s": self._plan.typical_s,
            "cuttings": [asdict(cutting) for cutting in self.cuttings],
        }

    def _go_on(
        self, *, number: int, runs: int, slot: str, is_trial: bool, newest_event: int, belief: dict[str, str],
        typical_s: dict[str, float], cuttings: list[dict[str, Any]],
    ) -> None:  # fmt: skip
        """Know what another run has known."""
        self.number, self.runs = number, runs + 1
        self._slot, self._is_trial, self._newest_event = slot, is_trial, newest_event
        self._belief = Belief(**belief)
        self._plan.typical_s.update(typical_s)
        self.cuttings = [Cutting(**cutting) for cutting in cuttings]

    def _live(self, log: Path, stop: Event) -> Round | None:
        """Let the node live until its power goes; None: it was to end."""
        self._plan.begin_round(self.number)
        holds = {slot: self._judge.whole(slot) for slot in "AB"}
        with (
            VirtualMachine(
                self._cache, self._base, media=self._life.media, write_log=log, extra_arguments=_ONE_PROCESSOR
            ) as machine,
            PowerSwitch(machine.pid, log, stop) as switch,
        ):
            driver = Driver(machine, switch, self._plan, self._belief, holds, UPDATES)
            try:
                driver.run(self._slot, self._is_trial)
            except PowerGone:
                pass
            except HarnessError as error:
                # A signal to the whole process group ends QEMU too, before the word of it has come here.
                if stop.wait(_END_S):
                    return None
                # The node did not come up, or the agent could not go on: that is what is looked for.
                driver.round.wrong.append(f"{driver.round.phase.value}: {error}")
                switch.off()
            driver.round.at_write = switch.was_at_write
            return None if switch.was_stopped else driver.round

    def _events(self, first: int) -> tuple[list[str], int]:
        """Read the history on the disk: the causes of fallbacks from an event on, and the number of the last one."""
        image, log = self._home / "told.img", self._home / "told.log"
        self._replay.copy("grub", image)
        FileSystem(image).read({f"/{history.FILE_NAME}": log})
        entries = history.parse(log.read_bytes()).entries if log.exists() else []
        causes = [
            entry.cause or "unknown" for entry in entries if entry.sequence >= first and entry.event == "fallback"
        ]
        return causes, max((entry.sequence for entry in entries), default=-1)

    def _around(self, requests: Sequence[Request]) -> list[str]:
        """Name the last requests, in words."""
        lines = []
        for request in requests[-AROUND:]:
            region = self._replay.owner(request.offset)
            begin = self._replay.regions[region].offset if region in self._replay.regions else 0
            where = "" if request.kind is Kind.FLUSH else f" {region} at {request.offset - begin}, {request.size} bytes"
            lines.append(f"{request.number} {request.kind.value}{where}")
        return lines

    def _keep(self, finding: Finding) -> None:
        """Keep what a finding needs to be seen once more."""
        directory = self._findings / f"seed{self._seed}-node{self._node}-round{self.number}"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        notes = {**finding._asdict(), "cutting": asdict(finding.cutting), "told": finding.told._asdict()}
        (directory / FINDING).write_text(json.dumps(notes, indent=1))
        room = shutil.disk_usage(directory).free - self._base.stat().st_size - (self._home / LOG).stat().st_size
        if self._kept >= KEPT_MAX or room < ROOM_LEFT:
            return
        self._kept += 1
        with (directory / BEFORE).open("wb") as file:
            file.truncate(self._base.stat().st_size)
        copy_into(self._base, directory / BEFORE, 0)
        shutil.copyfile(self._home / LOG, directory / LOG)


def _cpu_seconds() -> float:
    """Say how long processors have worked for this process, and for those that it has started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def play(replay: Replay, pending: Pending, log: Path, requests: Sequence[Request]) -> list[int]:
    """Let all that was asked for reach the disk.

    Returns:
        Which of the writes that are not flushed are never torn, by their place among them.
    """
    whole: list[int] = []
    with log.open("rb") as data:
        for request in requests:
            if request.kind is Kind.FLUSH:
                pending.flush()
                whole.clear()
            elif request.is_durable:
                replay.write(request.offset, request.data(data))
            else:
                name = replay.owner(request.offset)
                # A super block has two sectors, and only the kernel writes it: that it is whole has to be assumed.
                if name in _SUPER_BLOCK and request.offset == replay.regions[name].offset:
                    whole.append(len(pending.sizes))
                pending.write(Write(request.offset, request.data(data)))
    return whole


def judge_once_more(life: Life, directory: Path, home: Path) -> tuple[Cut, Verdict]:
    """Judge the disk of a finding, made anew from what was kept.

    Args:
        life: the same node.
        directory: of the finding.
        home: for scratch files.
    """
    notes = json.loads((directory / FINDING).read_text())
    cut, told = parse(notes["cut"]), Told(**notes["told"] | {"vouched": Vouched(*notes["told"]["vouched"])})
    base, log = directory / BEFORE, directory / LOG
    places = places_of(base, LAYOUTS[life.system])
    with Replay.of_slots(base, home / DISK, places, life.versions) as replay, agent(replay.path, places) as found:
        pending = Pending(replay)
        play(replay, pending, log, list(read_cut_log(log)))
        pending.settle(cut)
        return cut, Judge(recording_of(life, places), replay, found, home).judge(told)


def recording_of(life: Life, places: dict[str, tuple[int, int]]) -> Recording:
    """Name what the judge goes by; no request is known before it happens."""
    plan = LAYOUTS[life.system]
    return Recording(life.name, life.title, Path(), life.release, plan, places, life.versions, [], [], life.rules)
