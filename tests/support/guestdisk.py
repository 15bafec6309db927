"""A guestOS without a virtual machine: its whole disk, every partition in its real place, which real GRUB boots.

The disk is a sparse file. A slot is three loop devices over its ranges; grub-emu reads the same file, partition table
and all. Only GRUB's own partition is not mounted: its files lie in a directory, and go in and out at each boot.
"""

import re
import sys
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple

from support.grubemu import SHIPPED, STOCK, Grub, kernel_line
from support.images import MIB, make_image
from support.loop import loop_device, run
from support.node import LoopNode

SECTOR = 512
ROOT = Path(__file__).parents[2]
SCRIPTS = {"shipped": SHIPPED, "stock": STOCK}


class Partition(NamedTuple):
    """One partition; start and size in sectors."""

    number: int
    start: int
    sectors: int
    partuuid: str


GUESTOS = {
    "grub": Partition(2, 206848, 204800, "6788e4cf-f456-104e-9a34-a2c58cfb0ee6"),
    "config": Partition(3, 411648, 204800, "a5ba3816-beaa-d74d-993e-cfa5aa6ba1f6"),
    "A_boot": Partition(4, 616448, 2097152, "ddf618fe-7244-b446-a175-3296e6b9d02e"),
    "A_root": Partition(5, 2713600, 20971520, "7c0a626e-e5ea-e543-b5c5-300eb8304db7"),
    "A_var": Partition(6, 23685120, 20971520, "22d2f5a6-1e39-d247-81cf-90c95c113e21"),
    "B_boot": Partition(7, 44656640, 2097152, "d5214e4f-f7b0-b945-9a9b-52b9188df4c5"),
    "B_root": Partition(8, 46753792, 20971520, "a78bc3a8-376c-054a-96e7-3904b915d0c5"),
    "B_var": Partition(9, 67725312, 20971520, "2237d1d1-ce96-584e-8ec5-8ae6661faae9"),
}
_LATER = 204800
BOUNDARY_GUESTOS = {
    name: part._replace(sectors=2 * part.sectors) if name == "config"
    else part._replace(start=part.start + _LATER) if part.number > 3
    else part
    for name, part in GUESTOS.items()
}  # fmt: skip
LAYOUTS = {"guestos": GUESTOS, "boundary-guestos": BOUNDARY_GUESTOS}


class GuestNode(LoopNode):
    """A node on a whole disk, as setupOS leaves it: slot A holds a system, slot B is empty."""

    def __init__(self, directory: Path, *, layout: str = "guestos", script: str = "shipped") -> None:
        super().__init__(directory)
        self.layout_name = layout
        self.layout = LAYOUTS[layout]
        self.disk = directory / "disk.img"
        self.script = SCRIPTS[script]
        self._grub = Grub(directory / "grub", self.script)

    def attach(self, stack: ExitStack) -> None:
        run("cp", "--sparse=always", self._factory_disk(), self.disk)
        run("mcopy", "-i", self._grub_partition, self.script, "::grub.cfg")
        (self.grubenv.parent / "grub.cfg").write_bytes(self.script.read_bytes())
        for slot, devices in self.devices.items():
            for part in ("boot", "root", "var"):
                devices[part] = stack.enter_context(self._part(self.disk, f"{slot}_{part}"))
        self.program("manageboot", "manageboot")
        self.program("manageboot.sh", "manageboot.icos")

    def _factory_disk(self) -> Path:
        """Make the disk as all nodes of this layout have it, once, beside the directories of the nodes."""
        disk = self.directory.parent / f"{self.layout_name}.img"
        if disk.exists():
            return disk
        new = disk.with_suffix(".new")
        with new.open("wb") as file:
            file.truncate((self.layout["B_var"].start + self.layout["B_var"].sectors + 4096) * SECTOR)
        # In one go: sgdisk flushes at each.
        table = []
        for name, (number, start, sectors, partuuid) in self.layout.items():
            table += [f"--new={number}:{start}:+{sectors - 1}", f"--partition-guid={number}:{partuuid}"]
            table += [f"--change-name={number}:{name}"]
        run("sgdisk", *table, new)
        with self._part(new, "grub") as device:
            run("mkfs.vfat", device)
        with self._part(new, "A_boot") as device:
            # Closing writes nothing down while another program, such as LVM's, looks at all devices.
            image = boot_image(self.directory / "factory", "factory")
            run("dd", "status=none", "conv=fsync", f"if={image}", f"of={device}")
        return new.rename(disk)

    def program(self, name: str, module: str) -> None:
        """Write a program that finds the configuration of this node where a node has it."""
        path = self.directory / name
        path.write_text(
            f"#!{sys.executable} -I\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            f"from manageboot import config\nconfig.CONFIG_PATHS = ({str(self.config)!r},)\n"
            f"from {module}.__main__ import main\nsys.exit(main())\n"
        )
        path.chmod(0o755)

    def boot(self) -> str:
        """Let GRUB boot; return the slot, which is the booted one from then on."""
        names = ("grubenv", "manageboot.env")
        for name in names:
            path = self.grubenv.parent / name
            if path.exists():
                run("mcopy", "-o", "-i", self._grub_partition, path, f"::{name}")
        output = self._grub.start(self.disk)
        for name in names:
            path = self.grubenv.parent / name
            if path.exists():
                run("mcopy", "-n", "-i", self._grub_partition, f"::{name}", path)
        [booted] = re.findall(r"BOOTS hd0,gpt(\d)", output)
        self.cmdline.write_text(" ".join(kernel_line(output)[1:]) + "\n")
        return {str(self.layout[f"{slot}_boot"].number): slot for slot in "AB"}[booted]

    def _part(self, disk: Path, name: str) -> AbstractContextManager[str]:
        part = self.layout[name]
        return loop_device(disk, offset=part.start * SECTOR, size=part.sectors * SECTOR)

    def device_head(self, slot: str) -> bytes:
        """Where the file system of boot begins, through the device."""
        with open(self.devices[slot]["boot"], "rb") as file:
            return file.read(MIB)

    @property
    def _grub_partition(self) -> str:
        return f"{self.disk}@@{self.layout['grub'].start * SECTOR}"


def boot_image(directory: Path, version: str) -> Path:
    """Make a boot partition's content: a file system with a kernel that GRUB can load."""
    content = directory / "content"
    content.mkdir(parents=True, exist_ok=True)
    for name in ("vmlinuz", "initrd.img"):
        (content / name).write_text(f"{name} of {version}\n")
    image = directory / "boot.img"
    with image.open("wb") as file:
        file.truncate(4 * MIB)
    run("mke2fs", "-q", "-t", "ext4", "-d", content, image)
    return image


def release(directory: Path, version: str, *, root_size: int = 2 * MIB, density: float = 0.3) -> Path:
    """Make an update image that boots, under a name that tells nothing."""
    boot_image(directory, version)
    make_image(directory / "root.img", root_size, seed=len(version), density=density)
    (directory / "VERSION.TXT").write_text(f"{version}\n")
    archive = directory / "image.bin"
    members = ("boot.img", "root.img", "VERSION.TXT")
    run("tar", "--create", "--sparse", "--format=gnu", "-C", directory, "--zstd", "-f", archive, *members)
    return archive
