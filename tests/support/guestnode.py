"""A guestOS that runs, without a virtual machine: its slots are loop devices over the partitions of a whole disk."""

import sys
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from support.grubemu import SHIPPED, STOCK
from support.guestdisk import LAYOUTS, GuestDisk
from support.images import MIB, make_boot_image, make_bootable_update
from support.loop import loop_device, run
from support.node import LoopNode

ROOT = Path(__file__).parents[2]
SCRIPTS = {"shipped": SHIPPED, "stock": STOCK}
_BLOCKS = ("grubenv", "manageboot.env")


class GuestNode(LoopNode):
    """A node as setupOS leaves it: slot A holds a system, slot B is empty.

    What a node has mounted at /boot/grub lies in a directory here; the blocks go in and out at each boot.
    """

    def __init__(self, directory: Path, *, layout: str = "guestos", script: str = "shipped") -> None:
        super().__init__(directory)
        self._layout = layout
        self._disk = self._at(directory / "disk.img", SCRIPTS[script])

    def attach(self, stack: ExitStack) -> None:
        run("cp", "--sparse=always", self._factory_disk(), self._disk.path)
        self._disk.put("grub.cfg", self._disk.script.read_bytes())
        (self.grubenv.parent / "grub.cfg").write_bytes(self._disk.script.read_bytes())
        for slot, devices in self.devices.items():
            for part in ("boot", "root", "var"):
                devices[part] = stack.enter_context(_part(self._disk, f"{slot}_{part}"))
        self._program("manageboot", "manageboot")
        self._program("manageboot.sh", "manageboot.icos")

    def boot(self) -> str:
        """Let GRUB boot; return the slot, which is the booted one from then on."""
        there = [name for name in _BLOCKS if (self.grubenv.parent / name).exists()]
        for name in there:
            self._disk.put(name, (self.grubenv.parent / name).read_bytes())
        slot, line = self._disk.boot()
        assert slot, "no slot boots"
        for name in there:
            (self.grubenv.parent / name).write_bytes(self._disk.get(name))
        self.cmdline.write_text(f"{line}\n")
        return slot

    def device_head(self, slot: str) -> bytes:
        """Where the file system of boot begins, through the device."""
        with open(self.devices[slot]["boot"], "rb") as file:
            return file.read(MIB)

    def _at(self, path: Path, script: Path) -> GuestDisk:
        return GuestDisk(path, LAYOUTS[self._layout], script, self.directory / "grub")

    def _factory_disk(self) -> Path:
        """Make the disk as all nodes of this layout have it, once, beside the directories of the nodes."""
        path = self.directory.parent / f"{self._layout}.img"
        if path.exists():
            return path
        new = self._at(path.with_suffix(".new"), SHIPPED)
        new.make()
        with _part(new, "A_boot") as device:
            # Closing writes nothing down while another program, such as LVM's, looks at all devices.
            image = make_boot_image(self.directory / "factory", "factory", 4 * MIB)
            run("dd", "status=none", "conv=fsync", f"if={image}", f"of={device}")
        return new.path.rename(path)

    def _program(self, name: str, module: str) -> None:
        """Write a program that finds the configuration of this node where a node has it."""
        path = self.directory / name
        path.write_text(
            f"#!{sys.executable} -I\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            f"from manageboot import config\nconfig.CONFIG_PATHS = ({str(self.config)!r},)\n"
            f"from {module}.__main__ import main\nsys.exit(main())\n"
        )
        path.chmod(0o755)


def _part(disk: GuestDisk, name: str) -> AbstractContextManager[str]:
    return loop_device(disk.path, offset=disk.plan.offset(name), size=disk.plan.partition(name).size)


def release(directory: Path, version: str, *, root_size: int = 2 * MIB, density: float = 0.3) -> Path:
    """Make an update image that boots, as an orchestrator has it: under a name that tells nothing."""
    return make_bootable_update(
        directory, version, boot_size=4 * MIB, root_size=root_size, density=density, name="image.bin"
    )
