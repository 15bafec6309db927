"""A guestOS that is stopped: manageboot works on its disk from outside, and GRUB's own tools are the judges."""

from pathlib import Path

from support.guestdisk import SMALL_GUESTOS, GuestDisk
from support.images import MIB, make_bootable_update
from support.node import Node

BOOT_BYTES = 8 * MIB


class StoppedGuest(Node):
    """The disk of a guest, and what the host is told of it."""

    def __init__(self, directory: Path, script: Path) -> None:
        super().__init__(directory)
        self._disk = GuestDisk(directory / "disk.img", SMALL_GUESTOS, script, directory / "emulated")
        self._disk.make()
        self._disk.set_block()
        self.put, self.get, self.remove = self._disk.put, self._disk.get, self._disk.remove
        self.set_block, self.block = self._disk.set_block, self._disk.block
        self.part, self.overwrite = self._disk.part, self._disk.overwrite
        self.config.write_text(
            f'profile = "guestos"\n[state]\ndirectory = "{self.state}"\nlock = "{self.lock}"\n'
            f'[install]\nwipe_var = "1MiB"\n'
        )

    @property
    def disk(self) -> Path:
        """Where the disk is; a test may move it."""
        return self._disk.path

    @disk.setter
    def disk(self, path: Path) -> None:
        self._disk.path = path

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line of a run."""
        return super().command("--disk", str(self.disk), *arguments)

    def update(self, version: str, *, name: str = "update-img.tar.zst") -> Path:
        """Make an update image whose boot file system GRUB can load."""
        directory = self.directory / f"update-{version}"
        return make_bootable_update(
            directory, version, boot_size=BOOT_BYTES, more=MIB, root_size=3 * MIB + 512, name=name
        )

    def boot(self) -> str:
        """Let GRUB boot the disk; return the slot, or an empty word if there is none."""
        return self._disk.boot()[0]
