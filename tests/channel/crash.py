"""What a node keeps of releases, on a disk that loses its power at each write and each flush.

The floor, the metadata with a root that is rotated, and what updates remember are written to ext4, whose writes are
recorded. Each state that a power cut can leave is mounted, so that the kernel replays its journal, and the agent goes
on from there.
"""

import argparse
import hashlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from channel.floornode import FloorNode
from manageboot import config, errors
from manageboot.boot import floor
from manageboot.boot.floor import Installed
from manageboot.channel import kept, trust
from manageboot.channel.directory import Directory
from manageboot.channel.kept import Kept
from manageboot.config import Config
from manageboot.protocol import Slot
from manageboot.unattended import memory
from manageboot.unattended.memory import Known, Memory, SetAside
from support.ending import end_if_asked, listen
from support.loop import loop_device
from support.mounts import fill, have_own_mounts, make_ext4, mounted
from support.tufrepository import Repository
from tests.support.crashlog import SECTOR, unpack
from tests.support.crashstates import Phase, State, crash_states
from tests.support.logged import logged

KINDS = {"ext4": "commit=300", "ext4 that orders nothing": "commit=300,data=writeback,noauto_da_alloc"}
"""By name, how it is mounted: as usual, and so that it keeps the least of what nobody has flushed."""
NAMES = (floor.FILE_NAME, kept.FILE_NAME, memory.FILE_NAME)
_DISK_BYTES = 4 << 20
_SUPER_BLOCK = {2, 3}
"""Its sectors. That the kernel's own write of it is whole has to be assumed."""


class Result(NamedTuple):
    """What became of all states."""

    states: int
    torn: int
    contents: int
    """How often the agent went on, each time from something else."""
    wrong: Sequence[str]


class Life:
    """What happens to a node: a release whose metadata two new roots have signed is installed, confirmed and left."""

    def __init__(self, directory: Path) -> None:
        """Make the repository that it follows."""
        repository = Repository(directory / "www")
        repository.publish()
        self.place = Directory(str(repository.directory))
        self.root = repository.root_path.read_bytes()
        self.first = self.refreshed(Kept())
        # All keys are exchanged, and once more those of targets.
        old = repository.keys
        repository.keys = Repository(directory / "other").keys
        repository.rotate(old["root"])
        repository.keys["targets"] = old["targets"]
        repository.rotate()
        repository.publish()
        self.rotated = self.refreshed(self.first)
        self.newest_root = repository.root_version

    def refreshed(self, state: Kept) -> Kept:
        """Ask the repository, as a node would that has kept this."""
        return trust.refresh(self.place, self.root, state, least_time=0).kept

    def before(self, settings: Config) -> None:
        """Let release 3 be confirmed in slot A, and an older one lie in slot B."""
        floor.note(settings, Slot.A, _installed(3, min_index=2))
        floor.confirmed(settings, Slot.A, None)
        floor.note(settings, Slot.B, _installed(2))
        kept.store(settings, self.first)
        memory.store(settings, Memory(chosen=_known(3)))

    def steps(self) -> list[Callable[[Config], None]]:
        """Give what it writes down then, in order."""
        chosen = Memory(chosen=_known(4))
        committed = chosen._replace(committed=_known(4))
        left = chosen.with_set_aside(SetAside(_known(4), "died-later", "2026-11-27T08:00:00+00:00"))
        return [
            # Two new roots are followed.
            lambda settings: kept.store(settings, self.rotated),
            # Release 4 is chosen, installed, committed, and confirmed.
            lambda settings: memory.store(settings, chosen),
            lambda settings: floor.note(settings, Slot.B, None),
            lambda settings: floor.note(settings, Slot.B, _installed(4, min_index=3)),
            lambda settings: memory.store(settings, committed),
            lambda settings: floor.confirmed(settings, Slot.B, None),
            # Somebody looks again, and it is set aside.
            lambda settings: kept.store(settings, self.rotated.with_built(1)),
            lambda settings: memory.store(settings, left),
        ]


class Campaign:
    """A life that is recorded, and the disk on which its states are looked at."""

    def __init__(self, directory: Path, kind: str) -> None:
        """Prepare.

        Args:
            directory: for its files.
            kind: of file system, one of KINDS.
        """
        self._directory = directory
        self._kind = kind
        self._life = Life(directory / "life")
        self._point = directory / "mount"
        self._point.mkdir()
        (directory / "node").mkdir()
        self._node = FloorNode(directory / "node")
        self._settings = config.load(profile="guestos", grubenv=str(self._point / "grubenv"))
        self._asked: dict[tuple[bytes, ...], str] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        disk = self._directory / "disk"
        disk.write_bytes(bytes(_DISK_BYTES))
        make_ext4(disk)
        with self._stack as stack:
            self._device = stack.enter_context(loop_device(disk))
            self._disk = disk
            self._stack = stack.pop_all()
        with mounted(self._device, self._point):
            self._life.before(self._settings)
        self._base = disk.read_bytes()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def record(self) -> list[State]:
        """Let it happen; give all states that a power cut can leave, and what may be read then."""
        image, log = self._directory / "image", self._directory / "log"
        image.write_bytes(self._base)
        log.touch()
        ends: list[int] = []
        readings: list[tuple[str, ...]] = []

        def end() -> None:
            ends.append(log.stat().st_size)
            readings.append(self._reading())

        with (
            logged(image, log, self._directory / "fuse") as file,
            loop_device(file) as device,
            mounted(device, self._point, KINDS[self._kind]),
        ):
            end()
            for step in self._life.steps():
                step(self._settings)
                end()
        whole = log.read_bytes()
        phases = [
            Phase(list(unpack(whole[begin:stop])), frozenset(readings[max(number - 1, 0) : number + 1]))
            for number, (begin, stop) in enumerate(pairwise([0, *ends]))
        ]
        return [state for state in crash_states(phases) if not self._halves_super_block(state)]

    def judge(self, states: Sequence[State], *, stop: bool = False) -> Result:
        """Look at states.

        Args:
            states: each is mounted, read, and gone on from.
            stop: whether to end with the first that is wrong.
        """
        wrong: Counter[str] = Counter()
        looked_at = torn = 0
        for state in states:
            end_if_asked()
            looked_at += 1
            torn += state.torn
            if cause := self._wrong(state):
                wrong[cause] += 1
                if stop:
                    break
        return Result(looked_at, torn, len(self._asked), [f"{count} states: {cause}" for cause, count in wrong.items()])

    def _wrong(self, state: State) -> str:
        content = bytearray(self._base)
        for number, data in state.changes.items():
            content[number * SECTOR : (number + 1) * SECTOR] = data
        fill(self._device, self._disk, bytes(content))
        with mounted(self._device, self._point):
            try:
                reading = self._reading()
            except errors.ManagebootError as error:
                return str(error)
            if reading not in state.allowed:
                return f"it reads {', '.join(reading)} instead of {' or '.join(map(', '.join, sorted(state.allowed)))}"
            contents = tuple((self._point / name).read_bytes() for name in NAMES)
        if contents not in self._asked:
            self._asked[contents] = self._go_on(contents)
        return self._asked[contents]

    def _reading(self) -> tuple[str, ...]:
        """Read what the agent reads, in words."""
        held, state, known = floor.load(self._settings), kept.load(self._settings), memory.load(self._settings)
        return (
            f"floor {held.release_index} {_digest(held)}",
            f"root {max(state.roots)} {_digest(state)}",
            f"memory {_digest(known)}",
        )

    def _go_on(self, contents: Sequence[bytes]) -> str:
        """Let the agent go on from files; say what is wrong."""
        node = self._node
        for name, content in zip(NAMES, contents, strict=True):
            (node.directory / name).write_bytes(content)
        followed = self._life.refreshed(kept.load(node.settings))
        if max(followed.roots) != self._life.newest_root:
            return f"root {max(followed.roots)} is followed, and {self._life.newest_root} is published"
        before = floor.load(node.settings)
        for verb in (("rollback", "--no-reboot"), ("confirm",)):
            node.boot("B", "failsafe_check")
            status, said = self._run(*verb)
            if status:
                return f"{verb[0]} exits with {status}: {said}"
        after, in_b = node.floor(), before.slots.get(Slot.B)
        if after != max(before.release_index, in_b.release_index if in_b else 0):
            return f"a confirm turns floor {before.release_index} into {after}"
        return ""

    def _run(self, *words: str) -> tuple[int, str]:
        """Run a verb in this process; what it says goes into a file meanwhile, since it writes past `sys.stderr`."""
        path = self._directory / "said"
        stderr = os.dup(2)
        try:
            with path.open("wb") as file:
                os.dup2(file.fileno(), 2)
                status = self._node.run(*words)
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        return status, path.read_text().strip()

    def _halves_super_block(self, state: State) -> bool:
        before = {number: self._base[number * SECTOR : (number + 1) * SECTOR] for number in _SUPER_BLOCK}
        changed = {number for number in _SUPER_BLOCK if state.changes.get(number, before[number]) != before[number]}
        return state.torn and len(changed) == 1


@contextmanager
def campaign(kind: str) -> Iterator[Campaign]:
    """Give a campaign whose disk lies in memory, where that is possible: what it flushes need not survive us."""
    memory_disk = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="manageboot-kept.", dir=memory_disk) as directory,
        Campaign(Path(directory), kind) as made,
    ):
        yield made


def _installed(index: int, *, min_index: int = 0) -> Installed:
    return Installed(f"1.{index}", index, min_index, f"{index:064x}", ("0" * 64,), "ab")


def _known(index: int) -> Known:
    return Known(f"1.{index}", index, f"{index:064x}")


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]


def main() -> int:
    """Judge all states, on each kind of file system; return 1 if one is wrong."""
    argparse.ArgumentParser(prog="channel.crash", description=(__doc__ or "").splitlines()[0]).parse_args()
    listen()
    have_own_mounts()
    is_wrong = False
    for kind in KINDS:
        begin_s = time.monotonic()
        with campaign(kind) as one:
            result = one.judge(one.record())
        print(
            f"{kind}: {result.states} states, {result.torn} of them torn; the agent goes on from {result.contents} "
            f"contents; {len(result.wrong)} kinds of errors; {time.monotonic() - begin_s:.0f} s",
            *result.wrong,
            sep="\n    ",
            flush=True,
        )
        is_wrong |= bool(result.wrong)
    return is_wrong


if __name__ == "__main__":
    sys.exit(main())
