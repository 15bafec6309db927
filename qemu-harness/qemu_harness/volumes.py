"""Logical volumes in an image, without device-mapper: LVM's tools write their metadata, and say where each lies."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from qemu_harness.process import run


def make_volumes(image: Path, offset: int, size: int, group: str, volumes: Mapping[str, int]) -> dict[str, int]:
    """Make a volume group in a part of an image; give the byte of the image at which each volume begins.

    Args:
        offset: where the part begins, in bytes.
        size: its length in bytes.
        volumes: their sizes in bytes, multiples of 4 MiB, in order; each is one piece.
    """
    with _lvm(image, offset, size) as (lvm, device):
        lvm("pvcreate", device)
        lvm("vgcreate", "--physicalextentsize", "4M", group, device)
        for name, bytes_ in volumes.items():
            lvm("lvcreate", "-an", "-Zn", "-Wn", "--size", f"{bytes_}b", "--name", name, group)
        return _places(lvm, device, offset, group)


def find_volumes(image: Path, offset: int, size: int, group: str) -> dict[str, int]:
    """Give the byte of an image at which each volume of a group begins, whose volumes are one piece each.

    Args:
        offset: where the part with the group begins, in bytes.
        size: its length in bytes.
    """
    with _lvm(image, offset, size) as (lvm, device):
        return _places(lvm, device, offset, group)


def _places(lvm: Callable[..., str], device: str, offset: int, group: str) -> dict[str, int]:
    start = int(lvm("pvs", "--noheadings", "--nosuffix", "--units", "b", "-o", "pe_start", device))
    extent = int(lvm("vgs", "--noheadings", "--nosuffix", "--units", "b", "-o", "vg_extent_size", group))
    rows = [line.split() for line in lvm("lvs", "--noheadings", "-o", "lv_name,seg_pe_ranges", group).splitlines()]
    return {name: offset + start + int(where.rpartition(":")[2].split("-")[0]) * extent for name, where in rows}


@contextmanager
def _lvm(image: Path, offset: int, size: int) -> Iterator[tuple[Callable[..., str], str]]:
    """Give LVM's command for a part of an image, and the device that the part is."""
    with _loop_device(image, offset, size) as device, tempfile.TemporaryDirectory() as settings:

        def lvm(verb: str, *arguments: str) -> str:
            # Whatever else is attached to this machine is none of its business.
            argv = ["lvm", verb, "--devices", device, "--driverloaded", "n", *arguments]
            return run(argv, env={"LVM_SYSTEM_DIR": settings}).decode()

        yield lvm, device


@contextmanager
def _loop_device(image: Path, offset: int, size: int) -> Iterator[str]:
    part = [f"--offset={offset}", f"--sizelimit={size}"]
    device = run(["losetup", "--find", "--show", *part, os.fspath(image)]).decode().strip()
    try:
        yield device
    finally:
        run(["losetup", "--detach", device])
