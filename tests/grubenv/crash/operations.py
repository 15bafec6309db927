"""The operations whose writes are recorded. Runs where the disk is: on the host, or as the only program of a guest."""

import mmap
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import grubenv
from grubenv.repairing import repair
from tests.grubenv.blocks import FALLBACK, STATE, block, lines

NAMES = ("boot_alternative", "boot_cycle")
NONE, STABLE, TRIAL = ("", ""), tuple(FALLBACK.values()), tuple(STATE.values())
MARK_BYTES = 512

OLD = block(lines(**FALLBACK, foreign="kept"))
CROWDED = block(lines(one="x" * 300, two="y" * 130, **FALLBACK, last="1"))


class Operation(NamedTuple):
    """One operation, and what GRUB reads before and after it: the values of NAMES, empty where it reads none."""

    tool: str
    name: str
    before: bytes | None
    """The file's content; None: there is no file."""
    act: Callable[[str], object]
    reads_old: tuple[str, str]
    reads_new: tuple[str, str]


def editenv(*words: str) -> Callable[[str], object]:
    return lambda path: subprocess.run(["grub-editenv", path, *words], check=True, capture_output=True)


def editenv_create(path: str) -> None:
    editenv("create")(path)
    editenv("set", "boot_alternative=B", "boot_cycle=first_boot")(path)


OPERATIONS = (
    Operation("grubenv", "update", OLD, lambda path: grubenv.update(path, STATE), STABLE, TRIAL),
    Operation(
        "grubenv",
        "update, staged",
        CROWDED,
        lambda path: grubenv.update(path, STATE, required_in_first_sector=NAMES),
        STABLE,
        TRIAL,
    ),
    Operation("grubenv", "create", None, lambda path: grubenv.update(path, STATE, create_missing=True), NONE, TRIAL),
    Operation(
        "grubenv", "create, 0 bytes", b"", lambda path: grubenv.update(path, STATE, create_missing=True), NONE, TRIAL
    ),
    Operation("grubenv", "repair in place", block(lines(**STATE)[:-1]), repair, ("B", ""), TRIAL),
    Operation("grubenv", "repair, 0 bytes", b"", lambda path: repair(path, FALLBACK), NONE, STABLE),
    Operation("grubenv", "repair, short", block(lines(**FALLBACK), 300), repair, STABLE, STABLE),
    Operation(
        "grub-editenv", "update", OLD, editenv("set", "boot_alternative=B", "boot_cycle=first_boot"), STABLE, TRIAL
    ),
    Operation("grub-editenv", "create", None, editenv_create, NONE, TRIAL),
)


def key(operation: Operation) -> str:
    return f"{operation.tool}: {operation.name}"


def perform(operation: Operation, device: str, image: bytes, kind: str, point: str, prefix: str = "") -> None:
    """Put the image on the device, the file into it, and carry out the operation between two marks."""
    name = prefix + key(operation)
    descriptor = os.open(device, os.O_RDWR | os.O_SYNC)
    try:
        os.pwrite(descriptor, image, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path = f"{point}/grubenv"
    with Mounted(device, kind, point):
        if operation.before is not None:
            Path(path).write_bytes(operation.before)
        os.sync()
    with Mounted(device, kind, point):
        os.sync()
        mark(device, f"begin {name}")
        operation.act(path)
        mark(device, f"end {name}")
    mark(device, f"unmounted {name}")


class Mounted:
    def __init__(self, device: str, kind: str, point: str) -> None:
        self.words = ["mount", "-t", kind, device, point]
        self.point = point

    def __enter__(self) -> None:
        subprocess.run(self.words, check=True)

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", self.point], check=True)


def mark(device: str, text: str) -> None:
    """Write a line into the device's last sector, which no file system here reaches, so that the log shows when."""
    descriptor = os.open(device, os.O_RDWR | os.O_DIRECT)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        with mmap.mmap(-1, 4096) as buffer:
            buffer[:MARK_BYTES] = text.encode().ljust(MARK_BYTES, b"\n")
            with memoryview(buffer)[:MARK_BYTES] as view:
                os.pwritev(descriptor, [view], size - MARK_BYTES)
    finally:
        os.close(descriptor)
