"""What GRUB makes of a disk: which slot it starts, and what it writes, now and at the boot after."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from powercuts.replay import REST, Replay, Undo
from support.grubemu import Grub, kernel_line

_SLOT = re.compile(r"BOOTS (?:hd0,gpt(\d+)|lvm/\w+-([AB])_boot)\s")
_SLOTS = {"4": "A", "7": "B"}


class Boot(NamedTuple):
    """One boot by GRUB."""

    slot: str | None
    """None: it started nothing."""
    arguments: str
    """The kernel command line."""
    said: str
    """What it printed, when it started nothing."""


class Boots(NamedTuple):
    """What GRUB does now, and at the boot after, when nobody has confirmed anything in between."""

    first: Boot
    second: Boot
    writes: tuple[tuple[int, bytes], ...]
    """What the first boot wrote, as offsets and data."""


class GrubJudge:
    """GRUB itself (grub-emu), which is asked once about each content of all that it reads."""

    def __init__(self, replay: Replay, directory: Path) -> None:
        """Ask about a replay.

        Args:
            replay: it is changed while GRUB runs, and brought back.
            directory: for its own files; it is made.
        """
        self._replay = replay
        self._grub = Grub(directory, "")
        self._regions = ("grub", "A_boot", "B_boot", REST)
        self._known: dict[tuple[int, ...], Boots] = {}

    @property
    def runs(self) -> int:
        """How many distinct contents it was asked about."""
        return len(self._known)

    def boot(self) -> Boots:
        """Boot the disk twice."""
        key = self._replay.fingerprint(*self._regions)
        if key not in self._known:
            undos: list[Undo] = []
            try:
                first = self._noticed(undos)
                writes = tuple((undo.offset, self._replay.read(undo.offset, len(undo.data))) for undo in undos)
                second = self._noticed(undos) if first.slot else first
            finally:
                self._replay.undo(undos)
            self._known[key] = Boots(first, second, writes)
        return self._known[key]

    def _noticed(self, undos: list[Undo]) -> Boot:
        """Boot, and note what brings back what GRUB has written, also where it fails."""
        before = self._replay.snapshot("grub")
        try:
            return self._start()
        finally:
            undos += self._replay.noticed("grub", before)

    def _start(self) -> Boot:
        try:
            said = self._grub.start(self._replay.path)
        except subprocess.CalledProcessError as error:
            # The real one shows its prompt then.
            return Boot(None, "", f"no grub.cfg: {error.stderr.decode(errors='replace').strip()}")
        found = _SLOT.search(said)
        if not found:
            return Boot(None, "", said)
        kernel, *words = kernel_line(said)
        return Boot(_SLOTS.get(found[1], found[2]), " ".join([f"BOOT_IMAGE={kernel}", *words]), "")
