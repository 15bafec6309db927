"""File systems on loop devices, which go away with their test."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.loop import loop_device

MIB = 1 << 20


def need_loop_devices() -> None:
    """Skip, with the reason, where there are no loop devices."""
    if os.geteuid() != 0 or not shutil.which("losetup") or not Path("/dev/loop-control").exists():
        pytest.skip("needs root and loop devices")


@contextmanager
def mount(device: str, point: Path, options: str = "") -> Iterator[Path]:
    """Mount a device."""
    point.mkdir(exist_ok=True)
    subprocess.run(["mount", *(["-o", options] if options else []), device, point], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)


@contextmanager
def mounted(directory: Path, *options: str, sector_size: int = 512) -> Iterator[Path]:
    """Mount a new ext4, made with the options of mke2fs, on a loop device."""
    need_loop_devices()
    image = directory / "disk.img"
    with image.open("wb") as file:
        file.truncate(16 * MIB)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", *options, image], check=True)
    # A slow test must not see its journal committed in between, as happens every five seconds.
    slow = "" if "^has_journal" in options else "commit=300"
    with loop_device(image, sector_size=sector_size) as loop, mount(loop, directory / "mnt", slow) as point:
        yield point
