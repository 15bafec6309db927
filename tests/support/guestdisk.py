"""The whole disk of a guestOS, every partition in its place, which real GRUB boots.

It is a sparse file, as large as on a node or small. Its partition of GRUB is never mounted: files go in with mtools,
and come out as GRUB reads them.
"""

import re
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from qemu_harness import layout
from qemu_harness.disk import partition_disk
from qemu_harness.layout import Layout
from support.grubemu import Grub, kernel_line, started
from support.images import MIB
from support.loop import run

_REAL_MIB = {"esp": 100, "grub": 100, "config": 100, "boot": 1 << 10, "root": 10 << 10, "var": 10 << 10}


def _of_a_node(**sizes_mib: int) -> Layout:
    sizes = {**_REAL_MIB, **sizes_mib}
    partitions = (replace(one, size=sizes[one.name.rpartition("_")[2]] * MIB) for one in layout.GUESTOS.partitions)
    return replace(layout.GUESTOS, partitions=tuple(partitions))


SMALL_GUESTOS = layout.GUESTOS
LAYOUTS = {"guestos": _of_a_node(), "boundary-guestos": _of_a_node(config=200)}
"""As on the nodes in service, sizes included."""


class GuestDisk:
    """A disk with the partitions of a guestOS, and a grub.cfg on GRUB's own; all else is empty."""

    def __init__(self, path: Path, plan: Layout, script: Path, directory: Path) -> None:
        """Name the disk; `make` makes it.

        Args:
            path: of the disk.
            plan: what it has where.
            script: the grub.cfg.
            directory: for what GRUB's emulator needs; it is made.
        """
        self.path = path
        self.plan = plan
        self.script = script
        self._grub = Grub(directory, script)

    def make(self) -> None:
        """Make the disk."""
        partition_disk(self.path, self.plan)
        first = str(self.plan.offset("grub") // layout.SECTOR_SIZE)
        size = str(self.plan.partition("grub").size >> 10)
        run("mkfs.vfat", "-F", "16", "--offset", first, self.path, size)
        self.put("grub.cfg", self.script.read_bytes())

    def boot(self) -> tuple[str, str]:
        """Let GRUB boot the disk; return the slot, an empty word if there is none, and the kernel command line."""
        said = self._grub.start(self.path)
        number = started(said)
        slots = {self.plan.number(f"{slot}_boot"): slot for slot in "AB"}
        if number is None:
            return "", ""
        kernel, *words = kernel_line(said)
        # As the real `linux` begins it, whose place a function of the emulator takes.
        return slots[number], " ".join([f"BOOT_IMAGE={kernel}", *words])

    def put(self, name: str, data: bytes) -> None:
        """Write a file of GRUB's partition anew."""
        command = ["mcopy", "-o", "-i", self._place, "-", f"::{name}"]
        subprocess.run(command, input=data, check=True, timeout=60)

    def get(self, name: str) -> bytes:
        """Read a file of GRUB's partition, as GRUB does."""
        command = ["grub-fstest", self.path, "cat", f"(loop0,gpt{self.plan.number('grub')})/{name}"]
        return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout

    def remove(self, name: str) -> None:
        """Remove a file of GRUB's partition."""
        run("mdel", "-i", self._place, f"::{name}")

    def set_block(self, **values: str) -> None:
        """Make the block anew, with GRUB's own tool."""
        with tempfile.TemporaryDirectory() as directory:
            block = Path(directory, "grubenv")
            run("grub-editenv", block, "create")
            if values:
                run("grub-editenv", block, "set", *(f"{name}={value}" for name, value in values.items()))
            self.put("grubenv", block.read_bytes())

    def block(self) -> dict[str, str]:
        """Read the block, as GRUB does."""
        return dict(re.findall(r"^(\w+)=(.*)$", self.get("grubenv").decode(), re.MULTILINE))

    def part(self, name: str, size: int) -> bytes:
        """Read the beginning of a partition."""
        with self.path.open("rb") as file:
            file.seek(self.plan.offset(name))
            return file.read(size)

    def overwrite(self, name: str, data: bytes) -> None:
        """Write to the beginning of a partition."""
        with self.path.open("r+b") as file:
            file.seek(self.plan.offset(name))
            file.write(data)

    @property
    def _place(self) -> str:
        return f"{self.path}@@{self.plan.offset('grub')}"
