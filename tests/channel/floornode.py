"""A node without devices, of which only what it keeps of releases is real."""

from pathlib import Path

from manageboot import config
from manageboot.boot import floor
from manageboot.cli import main
from manageboot.config import Config
from support.blocks import environment_block


class FloorNode:
    """A node without devices: block, kernel command line and state."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "manageboot.toml"
        slots = "".join(f'[slots.{slot}]\nboot = "/dev/{slot}1"\nroot = "/dev/{slot}2"\n' for slot in "AB")
        self.path.write_text(
            f'[boot]\ngrubenv = "{directory}/grubenv"\ncmdline = "{directory}/cmdline"\n'
            f'[state]\ndirectory = "{directory}/state"\nlock = "{directory}/run/lock"\n'
            f'[metrics]\ndirectory = "{directory}/none"\n{slots}'
        )
        self.boot("A", "stable")

    def boot(self, slot: str, cycle: str) -> None:
        (self.directory / "cmdline").write_text(f"dfinity.system={slot}\n")
        block = environment_block(boot_alternative=slot, boot_cycle=cycle)
        (self.directory / "grubenv").write_bytes(block)

    def run(self, *words: str) -> int:
        return main.run(["-c", str(self.path), *words])

    @property
    def settings(self) -> Config:
        return config.load(str(self.path))

    def floor(self) -> int:
        return floor.load(self.settings).release_index
