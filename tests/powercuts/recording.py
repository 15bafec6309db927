"""A node lives, and each write and flush that reaches its disk is kept, with what it was about."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from powercuts.vouched import Vouched
from qemu_harness.cache import Cache
from qemu_harness.layout import GROUP, GUESTOS, HOSTOS, Layout
from qemu_harness.machine import VirtualMachine
from qemu_harness.process import run
from qemu_harness.volumes import find_volumes
from qemu_harness.writelog import Request, read_log

LOG, NOTES, BASE, END = "writes.log", "recording.json", "before.img", "after.img"
MANAGEBOOT, ANY_UPDATER = "manageboot", "any"
"""Whose rules a recording is judged by: manageboot's, or those of any updater."""
LAYOUTS = {layout.system: layout for layout in (GUESTOS, HOSTOS)}


class Step(NamedTuple):
    """One thing that happens in a life, and what may boot while it happens and once it is done."""

    name: str
    what: str
    action: Callable[[VirtualMachine], None]
    during: str
    """The slots that may boot next at any instant of it."""
    after: str
    """Those that may boot when it was reported as done."""
    slot: str = ""
    """The slot that it runs in; empty: it boots in between."""
    again: str = ""
    """The verb that completes it when it was cut; empty: there is nothing to complete."""
    meddles: str = ""
    """What somebody changes on purpose: a slot, whose content afterwards counts as an image, or the block."""
    installs: str = ""
    """The slot that holds an image whole when it is done."""
    trusted: str = ""
    """The slots whose system is confirmed, where the rules ask for it."""
    vouched: Vouched = Vouched()
    """What has to be kept of releases when it is done, and from then on."""


@dataclass(frozen=True)
class Done:
    """A step of a recording."""

    name: str
    what: str
    during: str
    after: str
    slot: str
    again: str
    meddles: str
    installs: str
    trusted: str
    vouched: Vouched
    first: int
    """Its first request, counted from 0."""
    end: int
    """The first request after it: what it has done had reached the disk by then."""


@dataclass(frozen=True)
class Life:
    """What is recorded: a node, and what happens to it."""

    name: str
    title: str
    system: str
    disk: Path
    media: Path
    versions: dict[str, dict[str, Path]]
    """The images that may lie in a slot: by version, boot and root."""
    steps: Sequence[Step]
    release: str
    rules: str = MANAGEBOOT
    """By whose rules it is judged."""


@dataclass(frozen=True)
class Recording:
    """A life that was recorded."""

    name: str
    title: str
    directory: Path
    release: str
    plan: Layout
    places: dict[str, tuple[int, int]]
    """Where each partition and volume lies on the disk: offset and size, in bytes."""
    versions: dict[str, dict[str, Path]]
    steps: list[Done]
    requests: list[Request]
    rules: str

    @property
    def log(self) -> Path:
        """The data of the requests."""
        return self.directory / LOG

    @property
    def base(self) -> Path:
        """The disk before."""
        return self.directory / BASE

    def step_at(self, position: int) -> Done:
        """Find the step that a request belongs to."""
        return next(step for step in self.steps if position < step.end)


def record(cache: Cache, life: Life, directory: Path, announce: Callable[[str], None]) -> None:
    """Let a node live in QEMU, and leave a recording in a directory.

    Args:
        cache: of the harness.
        life: what is recorded.
        directory: is made.
        announce: is told each step when it begins.

    Raises:
        HarnessError: a step did not do what it has to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / LOG
    ends: list[int] = []
    # First: a life is long, and the cache may have given up by its end what nobody has asked for since.
    _keep_images(life, directory)
    with VirtualMachine(cache, directory / BASE, media=life.media, write_log=log) as machine:
        for step in life.steps:
            announce(step.name)
            step.action(machine)
            ends.append(log.stat().st_size)
        machine.power_off()
        machine.export_disk(directory / END)
    _describe(life, directory, ends)


def describe(life: Life, directory: Path, ends: Sequence[int]) -> None:
    """Complete a directory that has the log of a life, and its disk afterwards.

    Args:
        life: what was recorded.
        directory: of the recording.
        ends: how long the log was when each step had ended, in bytes: what the step had written stands before that.
    """
    _keep_images(life, directory)
    _describe(life, directory, ends)


def _keep_images(life: Life, directory: Path) -> None:
    """Keep the disk before, and the images that may lie in its slots."""
    _copy(life.disk, directory / BASE)
    for version, images in life.versions.items():
        for role, image in images.items():
            _copy(image, directory / f"{version}-{role}.img")


def _describe(life: Life, directory: Path, ends: Sequence[int]) -> None:
    requests = list(read_log(directory / LOG))
    steps: list[Done] = []
    first = 0
    for step, end in zip(life.steps, ends, strict=True):
        after = sum(request.end <= end for request in requests)
        words = {name: value for name, value in step._asdict().items() if name != "action"}
        steps.append(Done(**words, first=first, end=after))
        first = after
    last = steps[-1]
    what = "the node goes down in good order"
    words = {"trusted": last.trusted, "vouched": last.vouched, "slot": last.slot}
    words |= dict.fromkeys(("meddles", "installs", "again"), "")
    steps.append(Done("switched off", what, last.after, last.after, first=first, end=len(requests), **words))
    notes = {
        "name": life.name,
        "title": life.title,
        "system": life.system,
        "release": life.release,
        "rules": life.rules,
        "places": places_of(directory / BASE, LAYOUTS[life.system]),
        "versions": list(life.versions),
        "steps": [asdict(step) for step in steps],
    }
    (directory / NOTES).write_text(json.dumps(notes, indent=1))


def _copy(source: Path, target: Path) -> None:
    run(["cp", "--sparse=always", "--reflink=auto", source, target])


def load(directory: Path) -> Recording:
    """Read a recording."""
    notes = json.loads((directory / NOTES).read_text())
    versions = {
        version: {role: directory / f"{version}-{role}.img" for role in ("boot", "root")}
        for version in notes["versions"]
    }
    return Recording(
        notes["name"],
        notes["title"],
        directory,
        notes["release"],
        LAYOUTS[notes["system"]],
        {name: (offset, size) for name, (offset, size) in notes["places"].items()},
        versions,
        [Done(**step | {"vouched": Vouched(*step["vouched"])}) for step in notes["steps"]],
        list(read_log(directory / LOG)),
        notes["rules"],
    )


def places_of(disk: Path, plan: Layout) -> dict[str, tuple[int, int]]:
    """Say where the partitions and volumes of a disk lie, by what LVM's own metadata says of the latter."""
    places = {one.name: (plan.offset(one.name), one.size) for one in plan.partitions}
    if plan.volumes:
        offset, size = places[GROUP]
        found = find_volumes(disk, offset, size, GROUP)
        places |= {name: (found[name], plan.volumes[name]) for name in plan.volumes}
    return places
