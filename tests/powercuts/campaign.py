"""A recording, walked from its first write to its last, with each state on the way judged."""

import random
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import NamedTuple, Self

from manageboot.events import history
from powercuts.cuts import SECTOR, Cut, losses, subsets
from powercuts.filesystems import FileSystem
from powercuts.judge import Judge, Told, Verdict, manageboots_rules
from powercuts.peerjudge import PeerJudge, promises
from powercuts.pending import Pending, Write
from powercuts.realboots import Booted, Sound
from powercuts.recording import ANY_UPDATER, END, MANAGEBOOT, Done, Recording
from powercuts.replay import Replay, scratch
from powercuts.vouched import Vouched
from qemu_harness.process import HarnessError
from qemu_harness.writelog import Kind, Request

REWIND_LIMIT = 16 << 20
"""With more than so many bytes written since the last flush, only few writes of them are lost."""
FAR_EACH = 64
"""But at one of so many writes, any."""
TORN_EACH = 8
"""There, too, one of so many is torn."""
_NO_PART = {"A_var", "B_var", "config"}
"""Regions that decide nothing by themselves; a journal keeps them whole, and that is the kernel's business."""
_EXT4_MAGIC, _MAGIC_AT = b"\x53\xef", 1024 + 56
_SUPER_BLOCK_HALF = 1024 + 512
"""Where the second half of an ext4's super block begins, in bytes."""
AROUND = 12
UNJUDGED_MAX = 20
"""When judges have failed so often, it is not the states that they fail at."""
JUDGES: dict[str, Callable[[Recording, Replay, Path], AbstractContextManager[Judge | PeerJudge]]] = {
    MANAGEBOOT: manageboots_rules,
    ANY_UPDATER: promises,
}
"""By whose rules a recording is judged."""


class Violation(NamedTuple):
    """A state in which a rule does not hold."""

    recording: str
    cut: str
    step: str
    wrong: list[str]
    around: list[str]
    """The requests before it, in words."""


class Instant(NamedTuple):
    """What is known of the disk after one request."""

    kind: str
    region: str
    offset: int
    size: int
    slot: str
    """Which boots next."""
    is_trial: bool
    states: int
    """How many new ones a power cut can leave here."""


class Result(NamedTuple):
    """What became of a recording."""

    name: str
    title: str
    release: str
    requests: int
    flushes: int
    states: int
    """Distinct ones, by the content of the whole disk."""
    cuts: dict[str, int]
    """How many were judged, by kind."""
    asked: dict[str, int]
    violations: list[Violation]
    steps: list[Done]
    instants: list[Instant]
    peers: bool = False
    """Whether it is that of a procedure beside manageboot's."""
    booted: Sequence[Booted] = ()
    """The states that were booted for real."""
    by_step: Mapping[str, int] = MappingProxyType({})
    """How many distinct states were judged in each step."""


class Walk:
    """A recording on its way, and its judges; a context manager."""

    def __init__(
        self,
        recording: Recording,
        *,
        seed: int,
        samples: int,
        say: Callable[[str], None] = lambda _: None,
        stride: int = 1,
    ) -> None:
        """Prepare.

        Args:
            recording: to be walked.
            seed: of the samples.
            samples: how many losses are tried at a write, where there are too many for all.
            say: is told how far it is.
            stride: of the writes since a flush that are many, only each of so many is judged, and the last.
        """
        self._recording = recording
        self._dice = random.Random(f"{recording.name} {seed}")
        self._samples = samples
        self._say = say
        self._stride = stride
        self._judged: set[tuple[tuple[int, ...], Told]] = set()
        self._states: set[tuple[int, ...]] = set()
        self._by_step: Counter[str] = Counter()
        self._cuts: Counter[str] = Counter()
        self._violations: list[Violation] = []
        self._instants: list[Instant] = []
        self._newest_event = -1
        self._vouched = Vouched()
        self._taken = self._left = 0
        self._unjudged = 0
        self.sound: list[Sound] = []
        """Those of the judged states whose system has to come up."""

    def __enter__(self) -> Self:
        recording = self._recording
        with ExitStack() as stack:
            self._home = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="manageboot-cuts.", dir=scratch()))
            )
            disk = Replay.of_slots(recording.base, self._home / "disk.img", recording.places, recording.versions)
            self.replay = stack.enter_context(disk)
            self._pending = Pending(self.replay)
            self.judge = stack.enter_context(JUDGES[recording.rules](recording, self.replay, self._home))
            self._log = stack.enter_context(recording.log.open("rb"))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, only: Collection[str] = (), *, stop: bool = False) -> Result:
        """Judge all states.

        Args:
            only: the names of the steps to judge; all others just happen. None: all are judged.
            stop: whether to judge no more of a step once a rule is broken in it.
        """
        for step in self._recording.steps:
            is_judged = not only or step.name in only
            if is_judged:
                self._say(step.name)
            for position in range(step.first, step.end):
                if is_judged:
                    self._at(position, step)
                else:
                    self._take(self._recording.requests[position])
                is_judged = is_judged and not (stop and self._is_broken(step))
            for cut in self._promised(step) if is_judged else ():
                self._ask(cut, step)
            self._leave(step)
        self._compare_with_the_end()
        return self._result()

    def _is_broken(self, step: Done) -> bool:
        return bool(self._violations) and self._violations[-1].step == step.name

    def _result(self) -> Result:
        recording = self._recording
        flushes = sum(request.kind is Kind.FLUSH for request in recording.requests)
        return Result(
            recording.name, recording.title, recording.release, len(recording.requests), flushes, len(self._states),
            dict(self._cuts), self.judge.counts, self._violations, recording.steps, self._instants,
            recording.rules != MANAGEBOOT, by_step=dict(self._by_step),
        )  # fmt: skip

    def _go_to(self, cut: Cut) -> Done:
        """Replay on, up to a cut that lies no further back than the last one; return the step that it is in."""
        for number, step in enumerate(self._recording.steps):
            for position in range(self._taken, min(step.end, cut.position + 1)):
                self._take(self._recording.requests[position])
                self._taken = position + 1
            if cut.position < step.end:
                return step
            if number == self._left:
                self._leave(step)
                self._left += 1
        raise ValueError(f"{self._recording.name} has no request {cut.position}")

    @contextmanager
    def at(self, cut: Cut) -> Iterator[tuple[Done, Verdict]]:
        """Replay on up to a cut, and let the disk be what it leaves; give its step, and what the judges say of it."""
        step = self._go_to(cut)
        with self._pending.cut(cut):
            yield step, self.judge.judge(self._told(cut, step))

    def _at(self, position: int, step: Done) -> None:
        request = self._recording.requests[position]
        before = len(self._states)
        self._take(request)
        if request.kind is Kind.FLUSH:
            last = self._instants[-1] if self._instants else None
            self._instants.append(
                Instant("flush", "", 0, 0, last.slot if last else "", bool(last and last.is_trial), 0)
            )
            return
        following = self._recording.requests[position + 1 : position + 2]
        is_last = bool(following) and following[0].kind is Kind.FLUSH
        if self._pending.bulk > REWIND_LIMIT and position % self._stride and not is_last:
            return
        verdict = self._ask(Cut(position, "reset"), step)
        for cut in self._losses(position):
            self._ask(cut, step)
        slot, is_trial = (verdict.slot, verdict.is_trial) if verdict else ("", False)
        region = self.replay.owner(request.offset)
        new = len(self._states) - before
        self._instants.append(Instant("write", region, request.offset, request.size, slot, is_trial, new))

    def _losses(self, position: int) -> Iterator[Cut]:
        sizes = self._pending.sizes
        if not sizes:
            return iter(())
        samples = 1 if self._pending.regions <= _NO_PART else self._samples
        is_bulk = self._pending.bulk > REWIND_LIMIT
        torn = not is_bulk or position % TORN_EACH == 0
        cuts = losses(position, sizes, self._dice, samples, near=is_bulk and position % FAR_EACH != 0, torn=torn)
        return (cut for cut in cuts if not self._halves_super_block(cut))

    def _halves_super_block(self, cut: Cut) -> bool:
        """Say whether a cut goes between the two sectors of an ext4's super block that the kernel writes.

        That this one is whole has to be assumed. In a slot the agent writes it, and there it may be torn.
        """
        request = self._recording.requests[cut.position]
        region = self.replay.regions.get(self.replay.owner(request.offset))
        if cut.torn is None or region is None or region.name.endswith(("_boot", "_root")):
            return False
        is_ext4 = self.replay.read(region.offset + _MAGIC_AT, len(_EXT4_MAGIC)) == _EXT4_MAGIC
        halves = (region.offset + _SUPER_BLOCK_HALF - request.offset) // SECTOR
        return is_ext4 and halves in cut.torn

    def _promised(self, step: Done) -> Iterator[Cut]:
        """Give what may be left when a step has just ended: whatever is lost then, it is done."""
        position = max(step.end - 1, 0)
        sizes = self._pending.sizes
        yield Cut(position, "told")
        near = self._pending.bulk > REWIND_LIMIT
        for kept in subsets(len(sizes), self._dice, self._samples, near=near):
            yield Cut(position, "told", kept)

    def _take(self, request: Request) -> None:
        if request.kind is Kind.FLUSH:
            self._pending.flush()
            return
        write = Write(request.offset, request.data(self._log))
        if request.is_durable:
            self.replay.write(write.offset, write.data)
        else:
            self._pending.write(write)

    def _ask(self, cut: Cut, step: Done) -> Verdict | None:
        """Judge a cut; None: this state was judged before, by the same rules."""
        with self._pending.cut(cut):
            state, told = self.replay.fingerprint(), self._told(cut, step)
            self._cuts[cut.kind] += 1
            self._states.add(state)
            is_new = (state, told) not in self._judged
            if not is_new and cut.kind != "reset":
                return None
            self._judged.add((state, told))
            self._by_step[step.name] += is_new
            verdict = self._judge(told)
            if is_new and not verdict.wrong and self.judge.comes_up(verdict):
                self.sound.append(Sound(cut, step.name))
        if verdict.wrong and is_new:
            self._violations.append(
                Violation(self._recording.name, cut.label, step.name, list(verdict.wrong), self.around(cut.position))
            )
        return verdict

    def _judge(self, told: Told) -> Verdict:
        """Judge the present state; that a judge fails at it is a finding, and not the end of all others."""
        try:
            return self.judge.judge(told)
        except Exception as error:
            self._unjudged += 1
            if self._unjudged > UNJUDGED_MAX:
                raise
            return Verdict("", False, (f"it could not be judged: {error!r}",))

    def _told(self, cut: Cut, step: Done) -> Told:
        may_boot = step.after if cut.kind == "told" else step.during
        installed = step.installs if cut.kind == "told" else ""
        kept = self._vouched.most(step.vouched) if cut.kind == "told" else self._vouched
        return Told(may_boot, step.slot, step.again, self._newest_event, step.meddles, installed, step.trusted, kept)

    def _leave(self, step: Done) -> None:
        """Take down what a step has left that later ones have to keep."""
        if step.meddles in {"A", "B"}:
            for role in ("boot", "root"):
                name = f"{step.meddles}_{role}"
                self.replay.adopt(name, f"after {step.name}", self._home / f"adopted-{name}.img")
        image = self._home / "told.img"
        self.replay.copy("grub", image)
        log = self._home / history.FILE_NAME
        FileSystem(image).read({f"/{history.FILE_NAME}": log})
        if log.exists():
            entries = history.parse(log.read_bytes()).entries
            self._newest_event = max((entry.sequence for entry in entries), default=-1)
        self._vouched = self._vouched.most(step.vouched)

    def _compare_with_the_end(self) -> None:
        """Make sure that the log was complete: the disk that it makes is the one that the node has left."""
        done = subprocess.run(
            ["cmp", self.replay.path, self._recording.directory / END], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise HarnessError(
                f"the log of {self._recording.name} does not lead to its end: {done.stdout}{done.stderr}"
            )

    def around(self, position: int) -> list[str]:
        """Name the requests up to one, in words."""
        lines = []
        for request in self._recording.requests[max(position - AROUND + 1, 0) : position + 1]:
            if request.kind is Kind.FLUSH:
                lines.append(f"{request.number} flush")
            else:
                region = self.replay.owner(request.offset)
                place = request.offset - (self.replay.regions[region].offset if region in self.replay.regions else 0)
                lines.append(f"{request.number} {request.kind.value} {region} at {place}, {request.size} bytes")
        return lines
