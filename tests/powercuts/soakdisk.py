"""The disk of a node between two rounds, and what is known of it: the next run goes on from where one was ended."""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from manageboot.system import files
from qemu_harness.filesystem import copy_into

NOTES, IMAGE = "notes.json", "disk.img"


class SoakDisk:
    """A disk in a directory of its own.

    A round's writes are put aside first, then the notes name them, then they land: who goes on with it after a run was
    killed in between finds the disk before the round or after it. A crash of the host is not provided for; nothing is
    flushed.
    """

    def __init__(self, directory: Path, origin: Path, build: str) -> None:
        """Go on with the disk that lies in a directory, or begin with a copy of another.

        Args:
            directory: is made, or emptied, where there is no disk of this build.
            origin: a disk that has never booted.
            build: what the node and its updates were built of.
        """
        self.path = directory / IMAGE
        self._directory = directory
        self._build = build
        self._number = 0
        self.notes: dict[str, Any] = {}
        """What was noted of the present content; empty: it has never booted."""
        noted = directory / NOTES
        kept = json.loads(noted.read_bytes()) if noted.exists() else {}
        if kept.get("build") == build:
            self._number, self.notes = kept["number"], kept["notes"]
            self._land(kept["places"])
        else:
            self._begin(origin)

    def advance(self, pieces: Iterable[tuple[int, bytes]], notes: dict[str, Any]) -> None:
        """Change the disk, and note what is known of it then.

        Args:
            pieces: what it holds where it was written, each at its offset in bytes.
            notes: as JSON has it.
        """
        before, self._number = self._aside(), self._number + 1
        places = []
        with self._aside().open("wb") as aside:
            for offset, data in pieces:
                aside.write(data)
                places.append((offset, len(data)))
        kept = {"build": self._build, "number": self._number, "places": places, "notes": notes}
        files.replace(str(self._directory / NOTES), json.dumps(kept).encode())
        before.unlink(missing_ok=True)
        self.notes = notes
        self._land(places)

    def _begin(self, origin: Path) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        with self.path.open("wb") as file:
            file.truncate(origin.stat().st_size)
        copy_into(origin, self.path, 0)

    def _aside(self) -> Path:
        return self._directory / f"round-{self._number}"

    def _land(self, places: Iterable[tuple[int, int]]) -> None:
        with self._aside().open("rb") as aside, self.path.open("r+b", buffering=0) as disk:
            for offset, size in places:
                os.pwrite(disk.fileno(), aside.read(size), offset)
