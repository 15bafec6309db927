"""A stand-in for the guestOS orchestrator: it calls manageboot.sh in its order, with its pipes, and reads nothing."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from support import forked

ONE_TRY_S = 15 * 60


class Orchestrator:
    """One start of it, in the booted system."""

    def __init__(self, program: Path, images: Path, *, key_exchange: Callable[[], None]) -> None:
        """Prepare it.

        Args:
            program: manageboot.sh.
            images: the directory for downloads.
            key_exchange: what happens to the slot between installation and commit: another virtual machine boots it.
        """
        self._program = program
        self._image = images / "image.bin"
        self._key_exchange = key_exchange

    def start(self) -> None:
        """Confirm, once, and look at nothing of it."""
        self._call("confirm")

    def upgrade(self, release: Path, sha256: str) -> bool:
        """Try once to upgrade; what went wrong is not known to it, only that something did."""
        shutil.copyfile(release, self._image)
        if hashlib.sha256(self._image.read_bytes()).hexdigest() != sha256:
            return False
        if not self._call("upgrade-install", str(self._image)):
            return False
        self._key_exchange()
        self._image.unlink()
        return self._call("upgrade-commit")

    def _call(self, *action: str) -> bool:
        command = [str(self._program), "guestos", *action]
        # When its time is up the caller forgets it; it is not killed.
        done = forked.run(command, stdin=subprocess.DEVNULL, timeout=ONE_TRY_S)
        return done.returncode == 0
