"""What becomes of a disk after a power cut, asked of GRUB itself and of the system that boots from it."""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import grubenv
from grubenv.repairing import repair
from tests.grubenv.blocks import FALLBACK
from tests.grubenv.crash.operations import NAMES, STABLE
from tests.grubenv.disks import mount
from tests.grubenv.support import run_grub
from tests.support.crashlog import SECTOR, Image
from tests.support.crashstates import Reading
from tests.support.loop import loop_device

BATCH = 60
"""Disks that one run of grub-emu looks at."""
NEXT = dict(zip(NAMES, ("B", "failsafe_check"), strict=True))
"""What the next update sets."""
_FSCK_FAILED = 4
_FAT_CORRECTED = 1


class Disk(NamedTuple):
    size: int
    base: Image

    def write(self, path: Path, changes: Image) -> Path:
        """Write the image of the disk with the changes, sparse."""
        with path.open("wb") as file:
            file.truncate(self.size)
            for start, data in _runs({**self.base, **changes}):
                os.pwrite(file.fileno(), data, start * SECTOR)
        return path


def _runs(image: Image) -> Iterator[tuple[int, bytes]]:
    """Yield runs of sectors that follow each other and are not zero."""
    start, pieces = 0, []
    for number, data in sorted(image.items()):
        if not data.strip(b"\0"):
            continue
        if pieces and number != start + len(pieces):
            yield start, b"".join(pieces)
            pieces = []
        if not pieces:
            start = number
        pieces.append(data)
    if pieces:
        yield start, b"".join(pieces)


def read_image(path: Path) -> Image:
    """Return the sectors of the image that are not zero."""
    image: Image = {}
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        position = 0
        while position < size:
            try:
                position = os.lseek(file.fileno(), position, os.SEEK_DATA)
            except OSError:
                break
            data = os.pread(file.fileno(), 4096, position // 4096 * 4096)
            first = position // 4096 * 8
            image.update(
                {
                    first + index: piece
                    for index in range(8)
                    if (piece := data[index * SECTOR : (index + 1) * SECTOR]).strip(b"\0")
                }
            )
            position = position // 4096 * 4096 + 4096
    return image


def grub_reads(images: Sequence[Path], directory: Path) -> list[Reading]:
    """Return what GRUB's load_env finds on each disk; empty values where it finds nothing."""
    script = []
    for index in range(len(images)):
        script += [f"set {name}=" for name in NAMES]
        script += [f"load_env -f (hd{index})/grubenv {' '.join(NAMES)}", f'echo "<{index}|${NAMES[0]}|${NAMES[1]}>"']
    printed = run_grub(directory, script, *images).replace("\r", "").replace("\n", "")
    found = {int(index): (one, two) for index, one, two in re.findall(r"<(\d+)\|([^|>]*)\|([^|>]*)>", printed)}
    return [found[index] for index in range(len(images))]


def grub_saves(image: Path, directory: Path, values: dict[str, str]) -> None:
    """Have GRUB's save_env change the values on the disk."""
    script = [f"set {name}={value}" for name, value in values.items()]
    run_grub(directory, [*script, f"save_env -f (hd0)/grubenv {' '.join(values)}"], image)


def system_recovers(image: Path, kind: str, directory: Path, allowed: Iterable[Reading]) -> str:
    """Let the system find the block, mend it if it must, and update it; return what went wrong, if anything did.

    As at a boot, the file system is checked first, and its journal replayed. mtools stand for mounting vfat.
    """
    with _file(image, kind, directory) as path:
        try:
            found = grubenv.query(path)
            grubenv.read(path)
        except grubenv.AbsentError:
            found = {}
        except grubenv.DamagedError as error:
            done = repair(path, FALLBACK)
            found = grubenv.query(path)
            allowed = {*allowed, STABLE}
            if any(damage.word not in {"file-system", "device"} for damage in done.remaining):
                return f"repair leaves {done.remaining} of {error}"
        reading = (found.get(NAMES[0], ""), found.get(NAMES[1], ""))
        if reading not in allowed:
            return f"the system reads {reading}"
        grubenv.update(path, NEXT, create_missing=True)
    [reading] = grub_reads([image], directory)
    return "" if reading == tuple(NEXT.values()) else f"after the next update GRUB reads {reading}"


@contextmanager
def _file(image: Path, kind: str, directory: Path) -> Iterator[Path]:
    if kind.startswith("ext4"):
        checked = subprocess.run(["e2fsck", "-fy", image], check=False, capture_output=True)
        assert checked.returncode < _FSCK_FAILED, checked.stdout
        with loop_device(image) as device, mount(device, directory / "mnt") as point:
            yield point / "grubenv"
        return
    checked = subprocess.run(["fsck.vfat", "-a", image], check=False, capture_output=True)
    assert checked.returncode <= _FAT_CORRECTED, checked.stdout
    path = directory / "grubenv"
    path.unlink(missing_ok=True)
    subprocess.run(["mcopy", "-n", "-i", image, "::grubenv", path], check=False, capture_output=True)
    yield path
    subprocess.run(["mdel", "-i", image, "::grubenv"], check=False, capture_output=True)
    subprocess.run(["mcopy", "-o", "-i", image, path, "::grubenv"], check=True, capture_output=True)
