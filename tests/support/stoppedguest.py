"""The disk of a guest that is stopped: manageboot works on it from outside, and GRUB's own tools are the judges."""

import re
import subprocess
from pathlib import Path

from qemu_harness import layout
from qemu_harness.disk import partition_disk
from qemu_harness.layout import GUESTOS
from support.grubemu import Grub
from support.images import MIB, make_image, pack
from support.loop import run
from support.node import LoopNode

BOOT_BYTES = 8 * MIB


class StoppedGuest(LoopNode):
    """A disk with the partitions of a guestOS; grub-emu boots it."""

    def __init__(self, directory: Path, script: Path) -> None:
        super().__init__(directory)
        self.disk = directory / "disk.img"
        self._script = script
        self._grub = f"{self.disk}@@{GUESTOS.offset('grub')}"
        partition_disk(self.disk)
        first = str(GUESTOS.offset("grub") // layout.SECTOR_SIZE)
        run("mkfs.vfat", "-F", "16", "--offset", first, self.disk, str(layout.GRUB_SIZE >> 10))
        self.put("grub.cfg", script.read_bytes())
        block = directory / "block"
        run("grub-editenv", block, "create")
        self.put("grubenv", block.read_bytes())
        self.write_config()

    def write_config(self, **extra: str) -> None:
        """Write what the host is told of its guest; `extra` has more lines for a section."""
        self.config.write_text(
            f'profile = "guestos"\n[state]\ndirectory = "{self.state}"\nlock = "{self.lock}"\n'
            f'[install]\nwipe_var = "1MiB"\n[boot]\n{extra.get("boot", "")}\n'
        )

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line of a run."""
        _, *rest = super().command(*arguments)
        place = rest.index(str(self.config)) + 1
        return [*super().command()[:1], *rest[:place], "--disk", str(self.disk), *rest[place:]]

    def put(self, name: str, data: bytes) -> None:
        """Write a file of GRUB's partition anew."""
        source = self.directory / f"put-{name}"
        source.write_bytes(data)
        run("mcopy", "-o", "-i", self._grub, source, f"::{name}")

    def get(self, name: str) -> bytes:
        """Read a file of GRUB's partition, as GRUB does."""
        command = ["grub-fstest", self.disk, "cat", f"(loop0,gpt2)/{name}"]
        return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout

    def remove(self, name: str) -> None:
        """Remove a file of GRUB's partition."""
        run("mdel", "-i", self._grub, f"::{name}")

    def set_block(self, **values: str) -> None:
        """Make the block anew, with GRUB's own tool."""
        path = self.directory / "block"
        run("grub-editenv", path, "create")
        run("grub-editenv", path, "set", *(f"{name}={value}" for name, value in values.items()))
        self.put("grubenv", path.read_bytes())

    def block(self) -> dict[str, str]:
        """Read the block."""
        return dict(re.findall(r"^(\w+)=(.*)$", self.get("grubenv").decode(), re.MULTILINE))

    def update(self, version: str, *, name: str = "update-img.tar.zst") -> Path:
        """Make an update image whose boot file system GRUB can load."""
        directory = self.directory / f"update-{version}"
        content = directory / "content"
        content.mkdir(parents=True)
        for file in ("vmlinuz", "initrd.img"):
            (content / file).write_text(f"{file} of {version}")
        make_image(content / "more", MIB, seed=3)
        boot = directory / "boot.img"
        run("mke2fs", "-q", "-t", "ext4", "-d", content, boot, f"{BOOT_BYTES >> 10}k")
        make_image(directory / "root.img", 3 * MIB + 512, seed=len(version))
        (directory / "VERSION.TXT").write_text(f"{version}\n")
        return pack(directory, "boot.img", "root.img", "VERSION.TXT", name=name)

    def part(self, name: str, size: int) -> bytes:
        """Read the beginning of a partition."""
        with self.disk.open("rb") as file:
            file.seek(GUESTOS.offset(name))
            return file.read(size)

    def overwrite(self, name: str, data: bytes) -> None:
        """Write to the beginning of a partition."""
        with self.disk.open("r+b") as file:
            file.seek(GUESTOS.offset(name))
            file.write(data)

    def boot(self) -> str:
        """Let GRUB boot the disk; return the slot, or an empty word if there is none."""
        said = Grub(self.directory / "emulated", self._script).start(self.disk)
        booted = re.findall(r"BOOTS hd0,gpt(\d)", said)
        return {"4": "A", "7": "B"}[booted[0]] if booted else ""
