"""All crash states of one recorded operation, judged: what was tried, and what failed."""

import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.grubenv.blocks import block, lines
from tests.grubenv.crash.judge import BATCH, Disk, grub_reads, grub_saves, read_image, system_recovers
from tests.grubenv.crash.operations import OLD, Operation
from tests.support.crashlog import SECTOR, Flush, Image, Recording, Write, apply
from tests.support.crashstates import Phase, crash_states

BEFORE_GRUB_SAVED = block(lines(boot_alternative="A", boot_cycle="install", foreign="kept"))
TRIED = ("B", "failsafe_check")


class Result(NamedTuple):
    """The numbers of states, and of those in which something was wrong."""

    states: int
    torn: int
    neither: int
    """GRUB reads neither the old nor the new state."""
    not_durable: int
    """GRUB reads the old state although the operation had said that it is done."""
    restarted: int
    """States that the system was started from as well."""
    not_recovered: int
    notes: tuple[str, ...]

    @property
    def failures(self) -> int:
        return self.neither + self.not_durable + self.not_recovered


def judge(operation: Operation, recording: Recording, kind: str, most_restarts: int) -> Result:
    """Try every crash state of the operation; where GRUB can save, its own save_env before and after it too.

    Args:
        kind: the file system.
        most_restarts: from how many of the states, evenly spread, the system is started as well.
    """
    neither = not_durable = restarted = not_recovered = 0
    notes: dict[str, None] = {}
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        base, phases = _phases(operation, recording, directory)
        disk = Disk(recording.size, base)
        states = list(crash_states(phases))
        known = frozenset().union(*(phase.allowed for phase in phases))
        every = -(-len(states) // most_restarts)
        for start in range(0, len(states), BATCH):
            batch = states[start : start + BATCH]
            images = [disk.write(directory / f"disk{index}", state.changes) for index, state in enumerate(batch)]
            for index, reading in enumerate(grub_reads(images, directory)):
                if reading not in known:
                    neither += 1
                    notes[f"GRUB reads {reading}"] = None
                elif reading not in batch[index].allowed:
                    not_durable += 1
                    notes[f"GRUB reads {reading} after it was done"] = None
                if (start + index) % every == 0:
                    restarted += 1
                    wrong = system_recovers(images[index], kind, directory, known)
                    not_recovered += bool(wrong)
                    notes.update({wrong: None} if wrong else {})
    torn = sum(state.torn for state in states)
    return Result(len(states), torn, neither, not_durable, restarted, not_recovered, tuple(notes))


def _phases(operation: Operation, recording: Recording, directory: Path) -> tuple[Image, list[Phase]]:
    """Return the disk at the beginning, and what happens to it, with what GRUB may read meanwhile."""
    reads_old, reads_new = operation.reads_old, operation.reads_new
    during = Phase(recording.during, frozenset({reads_old, reads_new}))
    after = Phase(recording.after, frozenset({reads_new}))
    if operation.before != OLD:
        return recording.base, [during, after]
    sector, saved_before = _as_grub_saves(recording, directory)
    base = {**recording.base, sector: BEFORE_GRUB_SAVED[:SECTOR]}
    earlier = frozenset({("A", "install"), reads_old})
    during = Phase([*saved_before, *recording.during], earlier | {reads_new})
    end = _image_at_the_end(recording)
    later = Phase([Flush(), *_saved_after(Disk(recording.size, end), directory)], frozenset({reads_new, TRIED}))
    return base, [Phase([], earlier), during, after, later]


def _as_grub_saves(recording: Recording, directory: Path) -> tuple[int, list[Write]]:
    """Return where the block lies, and the writes with which GRUB makes the block that the operation finds.

    The real GRUB is asked to make them; it writes both sectors and flushes neither.
    """
    disk = Disk(recording.size, recording.base)
    changed = _changed_by_grub(disk, directory, {"boot_cycle": "failsafe_check"})
    [sector] = changed
    earlier = Disk(recording.size, {**recording.base, sector: BEFORE_GRUB_SAVED[:SECTOR]})
    made = _changed_by_grub(earlier, directory, {"boot_cycle": "stable"})
    assert made == {sector: OLD[:SECTOR]}
    return sector, [Write(sector * SECTOR, OLD[:SECTOR]), Write((sector + 1) * SECTOR, OLD[SECTOR:])]


def _saved_after(disk: Disk, directory: Path) -> list[Write]:
    """Return the writes with which GRUB notes that it has tried the new slot."""
    return [
        Write(sector * SECTOR, data)
        for sector, data in _changed_by_grub(disk, directory, {"boot_cycle": TRIED[1]}).items()
    ]


def _changed_by_grub(disk: Disk, directory: Path, values: dict[str, str]) -> Image:
    image = disk.write(directory / "saved", {})
    before = read_image(image)
    grub_saves(image, directory, values)
    after = read_image(image)
    return {
        number: after.get(number, bytes(SECTOR))
        for number in sorted(before.keys() | after.keys())
        if before.get(number) != after.get(number)
    }


def _image_at_the_end(recording: Recording) -> Image:
    image = dict(recording.base)
    for event in (*recording.during, *recording.after):
        if isinstance(event, Write):
            apply(image, event)
    return image
