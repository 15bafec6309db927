"""The agent itself on a disk as it was at one instant: what it says of it, and whether it can go on from there."""

import importlib
import json
import os
import pkgutil
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grubenv
import manageboot
from grubenv.__main__ import main as grubenv_main
from manageboot.cli import main
from support.loop import loop_device

ROLES = ("boot", "root", "var")
_NOT_ON_NODES = ("manageboot.manual", "manageboot.publish")


class Ended(NamedTuple):
    """A run of the agent."""

    status: int
    out: str
    err: str

    @property
    def code(self) -> str:
        """The code word of its error."""
        found = re.search(r"^manageboot: error: .*\[([A-Z_]+)\]$", self.err, re.MULTILINE)
        return found[1] if found else ""


class Agent:
    """The agent as a node would run it, on files that were read out of a disk, and on the slots of the disk itself."""

    def __init__(self, directory: Path, devices: dict[str, dict[str, str]]) -> None:
        """Prepare its surroundings.

        Args:
            directory: for its files; GRUB's lie in `grub`, and the records in `state`.
            devices: by slot and role.
        """
        self.grub, self.state = directory / "grub", directory / "state"
        self._directory = directory
        for path in (self.grub, self.state):
            path.mkdir(parents=True)
        slots = "".join(
            f"[slots.{slot}]\n" + "".join(f'{role} = "{path}"\n' for role, path in parts.items())
            for slot, parts in devices.items()
        )
        self._config = directory / "manageboot.toml"
        self._config.write_text(
            f'profile = "custom"\n[boot]\ngrubenv = "{self.grub}/grubenv"\ncmdline = "{directory}/cmdline"\n'
            f'reboot_command = ["true"]\n'
            f'[state]\ndirectory = "{self.state}"\nlock = "{directory}/lock"\n{slots}'
        )

    def boot(self, arguments: str) -> None:
        """Let it find itself in a system that was started with a kernel command line."""
        (self._directory / "cmdline").write_text(f"{arguments}\n")

    def run(self, *arguments: str | Path) -> Ended:
        """Run a verb."""
        return self._fork(lambda: main.run(["-c", str(self._config), *map(str, arguments)]))

    def repair(self) -> Ended:
        """Mend the block, as a person would whom a verb has told that it is damaged."""
        return self._fork(lambda: grubenv_main([str(self.grub / "grubenv"), "repair"]))

    def _fork(self, perform: Callable[[], int]) -> Ended:
        """Run something in a process of its own that has its modules already."""
        out, err = self._directory / "out", self._directory / "err"
        child = os.fork()
        if child == 0:
            status = 70
            try:
                for number, path in ((1, out), (2, err)):
                    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                status = perform()
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(status)
        _, waited = os.waitpid(child, 0)
        return Ended(
            os.waitstatus_to_exitcode(waited), out.read_text(errors="replace"), err.read_text(errors="replace")
        )

    def status(self) -> dict[str, Any]:
        """What `status --json` says.

        Raises:
            AssertionError: it failed.
        """
        done = self.run("status", "--json")
        assert done.status == 0, f"status exited with {done.status}: {done.err}"
        found: dict[str, Any] = json.loads(done.out)
        return found

    def block(self) -> bytes | None:
        """The environment block."""
        path = self.grub / "grubenv"
        return path.read_bytes() if path.exists() else None


@contextmanager
def agent(disk: Path, places: dict[str, tuple[int, int]]) -> Iterator[Agent]:
    """Make an agent for a disk.

    Args:
        disk: the file that it is.
        places: where its partitions and volumes lie, in bytes.
    """
    _import_all()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="manageboot-cut.")))
        devices: dict[str, dict[str, str]] = {"A": {}, "B": {}}
        for slot, parts in devices.items():
            for role in ROLES:
                offset, size = places[f"{slot}_{role}"]
                parts[role] = stack.enter_context(loop_device(disk, offset=offset, size=size))
        yield Agent(directory / "agent", devices)


def _import_all() -> None:
    """Import what verbs import when they need it, once for all runs."""
    for name in modules():
        importlib.import_module(name)


def modules() -> Iterator[str]:
    """Name what verbs may import: all but what no node has, and what runs when it is imported."""
    for package in (grubenv, manageboot):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(_NOT_ON_NODES) and not module.name.endswith("__main__"):
                yield module.name
