"""Deliberate faults in the agent, each a step of durability left out, which the campaign has to find: it can fail.

For each fault a node with the faulty agent lives in QEMU as far as it takes, and the power is cut at every instant of
that, up to the first violation. The same lives without a fault have none.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from powercuts.campaign import Result, Walk
from powercuts.lives import KINDS, V2, life_of
from powercuts.recording import Life, load, record
from powercuts.replay import scratch
from qemu_harness.cache import Cache, content_key
from qemu_harness.disk import build_disk
from qemu_harness.node import FACTORY_VERSION, UPDATES
from qemu_harness.process import OWN_MOUNTS, HarnessError, run
from qemu_harness.slot import SlotImages, build_slot_images, build_system
from qemu_harness.update import build_media, build_update
from support import judges

ROOT = Path(__file__).parents[2]
SEED, SAMPLES = 1, 4
CONTROL_SAMPLES = 1


class Mutant(NamedTuple):
    """One fault: in this file, this text becomes that."""

    name: str
    file: str
    old: str
    new: str
    step: str
    """The step of `lives.upgrades` that is judged; the life ends with it."""
    faulty: str = FACTORY_VERSION
    """The version whose agent has the fault: the first one runs in slot A, v2 in slot B."""
    is_var_in_memory: bool = False
    """Whether v2 has its var in memory. On the disk that GRUB writes to, each flush of var would hide the fault."""


# What the textbook does in place of an overwritten sector: write a new file, flush it, rename it, flush the directory.
_RENAME = """\
with open(f"{path}.new", "wb") as file:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
os.rename(f"{path}.new", path)
directory = os.open(os.path.dirname(path), os.O_RDONLY)
os.fsync(directory)
os.close(directory)
"""


def _by_rename(*before: str, indent: int) -> str:
    """Give that as lines of a function, after those that say what `path` and `content` are."""
    lines = [*before, *_RENAME.splitlines()]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


MUTANTS = (
    Mutant("no flush after the data", "manageboot/disk/blockdev.py",
           "            os.fsync(self._descriptor)\n", "            pass\n", "install v2"),
    Mutant("the record before the data", "manageboot/install/install.py",
           "Content.INSTALLING, transaction", "Content.INSTALLED, transaction", "install v2"),
    Mutant("the header first", "manageboot/install/imagewriter.py",
           "            memoryview(self.header)[:] = window.buffer[:start]\n",
           "            memoryview(self.header)[:] = window.buffer[:start]\n            start = 0\n", "install v2"),
    Mutant("the block by rename", "grubenv/updating.py",
           "    how = carry_out(storage, steps, old)\n",
           _by_rename("path, content, how = storage.path, new.build(), 'replaced'", indent=4), "commit v2"),
    Mutant("no flush after the block", "grubenv/writing/storage.py",
           "            os.fdatasync(self.descriptor)\n", "            pass\n", "confirm", V2),
    Mutant("what GRUB wrote is not forced down", "manageboot/daemon/jobs.py",
           'logger.info("%s%s", verbs.arrive(config), _what_grub_said(before))',
           'logger.info("%s", _what_grub_said(before))', "trial of v2", V2, is_var_in_memory=True),
    Mutant("the history by rename", "manageboot/events/history.py",
           "        _overwrite(path, encode(added), _offset(added))\n",
           _by_rename("content = bytearray(content)",
                      "content[_offset(added) : _offset(added) + RECORD_BYTES] = encode(added)", indent=8),
           "commit v2"),
    Mutant("the trusted slot before the block", "manageboot/upgrade/verbs.py",
           "        _write(config, to_do, _kept(node))\n"
           "        if node.grub is not None:\n            _trust(config, node.booted)\n",
           "        if node.grub is not None:\n            _trust(config, node.booted)\n"
           "        _write(config, to_do, _kept(node))\n", "confirm", V2),
)  # fmt: skip

_MOUNTS = "usr/lib/systemd/system-generators/slot-mounts"
_VAR = """\
Requires=var-format.service
After=var-format.service
[Mount]
What=${parts}var
Where=/var
Type=ext4
"""
_MODULES = "usr/lib/python3/dist-packages"
_VAR_IN_MEMORY = "[Mount]\nWhat=tmpfs\nWhere=/var\nType=tmpfs\n"
_LAY_IN = 'mount -o loop,noinit_itable "$1" "$2"; cat "$3" >"$2/$4"; umount "$2"'


def life_with(cache: Cache, last: str, fault: Mutant | None = None, *, is_var_in_memory: bool = False) -> Life:
    """Build a node, with or without a fault, and say what will happen to it.

    Args:
        cache: of the images.
        last: the step that it ends with.
        fault: in the agent.
        is_var_in_memory: as in a mutant.
    """
    life = life_of(cache, KINDS["guest"])
    system = build_system(cache)
    slots = {version: build_slot_images(cache, system, version) for version in (FACTORY_VERSION, *UPDATES.values())}
    changes: dict[str, dict[str, str]] = {version: {} for version in slots}
    if is_var_in_memory:
        changes[V2][_MOUNTS] = changed(system / "root" / _MOUNTS, _VAR, _VAR_IN_MEMORY)
    if fault:
        place = Path(_MODULES, fault.file)
        changes[fault.faulty][str(place)] = changed(ROOT / fault.file, fault.old, fault.new)
    slots = {version: _with(cache, slots[version], files) if files else slots[version]
             for version, files in changes.items()}  # fmt: skip
    names = [step.name for step in life.steps]
    return replace(
        life,
        disk=build_disk(cache, slots[FACTORY_VERSION]),
        media=build_media(cache, {name: build_update(cache, slots[version]) for name, version in UPDATES.items()}),
        versions={version: {"boot": images.boot, "root": images.root} for version, images in slots.items()},
        steps=life.steps[: names.index(last) + 1],
    )


def changed(path: Path, old: str, new: str) -> str:
    """Give the text of a file with a change.

    Raises:
        HarnessError: the place of the change is not there, or more than once.
    """
    text = path.read_text()
    if text.count(old) != 1:
        raise HarnessError(f"{path} has {old!r} {text.count(old)} times, and not once")
    return text.replace(old, new)


def _with(cache: Cache, images: SlotImages, files: dict[str, str]) -> SlotImages:
    """Give the images of a slot with other files in its root, by their path in it."""
    key = content_key(images.root.parent.name, *(word for pair in sorted(files.items()) for word in pair))

    def build(directory: Path) -> None:
        for image in (images.boot, images.root):
            run(["cp", "--sparse=always", "--reflink=auto", image, directory / image.name])
        with tempfile.TemporaryDirectory(dir=directory) as name:
            point, text = Path(name, "mounted"), Path(name, "text")
            point.mkdir()
            for path, content in files.items():
                text.write_text(content)
                run([*OWN_MOUNTS, "sh", "-ec", _LAY_IN, "sh", directory / "root.img", point, text, path])

    directory = cache.entry("faulty-slot", key, build)
    return SlotImages(directory / "boot.img", directory / "root.img", images.version)


def judged(cache: Cache, life: Life, *, samples: int, only: Sequence[str] = (), stop: bool = False) -> Result:
    """Record a life, and judge its states: all or those of some steps, and with stop, up to the first violation."""
    with tempfile.TemporaryDirectory(prefix="manageboot-mutant.", dir=scratch()) as name:
        directory = Path(name, "recording")
        record(cache, life, directory, lambda step: print(f"    {step}", file=sys.stderr, flush=True))
        with Walk(load(directory), seed=SEED, samples=samples) as walk:
            return walk.run(only, stop=stop)


def caught(mutant: Mutant) -> Result:
    """Let a node with a fault live, and judge it."""
    cache = Cache.default()
    life = life_with(cache, mutant.step, mutant, is_var_in_memory=mutant.is_var_in_memory)
    return judged(cache, life, samples=SAMPLES, only=(mutant.step,), stop=True)


def control(*, is_var_in_memory: bool) -> Result:
    """Judge the longest of these lives without a fault."""
    cache = Cache.default()
    last = "trial of v2" if is_var_in_memory else "confirm"
    return judged(cache, life_with(cache, last, is_var_in_memory=is_var_in_memory), samples=CONTROL_SAMPLES)


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
        missed = sum(not _is_violated(mutant.name, partial(caught, mutant)) for mutant in tried)
        print(f"{len(tried)} faults, {missed} not found", flush=True)
        blamed = 0
        if not names:
            blamed += _is_violated("no fault", partial(control, is_var_in_memory=False))
            blamed += _is_violated("no fault, var in memory", partial(control, is_var_in_memory=True))
    except HarnessError as error:
        print(f"powercuts.mutants: error: {error}", file=sys.stderr)
        return 2
    return 1 if missed or blamed else 0


def _is_violated(name: str, judge: Callable[[], Result]) -> bool:
    """Judge a life, print what was found, and say whether a rule does not hold in it."""
    begin_s = time.monotonic()
    result = judge()
    found = "; ".join(result.violations[0].wrong) if result.violations else "NOTHING FOUND"
    print(f"{time.monotonic() - begin_s:4.0f} s  {name}: {found}, after {result.states} states", flush=True)
    for violation in result.violations[:1]:
        print(f"        {violation.step}, {violation.cut}", flush=True)
    return bool(result.violations)


if __name__ == "__main__":
    sys.exit(main())
