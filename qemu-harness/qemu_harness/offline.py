"""Looking into the disk of a node that is off, with the eyes of GRUB."""

import re
import tempfile
from pathlib import Path

from qemu_harness.layout import GUESTOS, SECTOR_SIZE, Layout
from qemu_harness.process import run


def read_file(disk: Path, part: str, path: str, plan: Layout = GUESTOS) -> bytes:
    """Read a file of a raw disk image through GRUB's own file system drivers, which replay no journal.

    Args:
        part: the name of the partition or volume.
        path: the file's path in it, with a slash in front.
        plan: of the disk.
    """
    return run(["grub-fstest", disk, "cat", f"({plan.grub_name(part)}){path}"])


def read_environment(disk: Path, plan: Layout = GUESTOS) -> dict[str, str]:
    """Read the variables of the environment block of a raw disk image."""
    with tempfile.NamedTemporaryFile() as block:
        Path(block.name).write_bytes(read_file(disk, "grub", "/grubenv", plan))
        return parse_environment(run(["grub-editenv", block.name, "list"]).decode())


def environment_sectors(disk: Path) -> list[int]:
    """Tell in which sectors of a raw disk image GRUB finds the environment block, counted from the disk's beginning."""
    listed = run(["grub-fstest", disk, "blocklist", "(loop0,gpt2)/grubenv"]).decode()
    runs = re.findall(r"(\d+)\+(\d+)", listed)
    start = GUESTOS.offset("grub") // SECTOR_SIZE
    return [start + int(first) + number for first, length in runs for number in range(int(length))]


def parse_environment(listing: str) -> dict[str, str]:
    """Take the output of `grub-editenv list` apart."""
    return dict(line.split("=", 1) for line in listing.splitlines() if "=" in line)
