"""File systems as the kernel would find them after a power cut: journal replayed, then checked, and files read out."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

_EXT_MAGIC = b"\x53\xef"
_EXT_MAGIC_AT = 1024 + 56
_HEAD_BYTES = 2048
# What fsck.fat says of a file system without a journal that was in use when the power went, and that costs nothing: it
# was in use; its two tables differ by what was being written; space is lost. "\\s" is what it says more of a finding.
_HARMLESS = re.compile(r"fsck\.fat |Dirty bit|FATs differ|Reclaimed|Free cluster summary|Leaving|.*: \d+ files, |\s|$")
# ext4 has it for as long as it is mounted with a file of orphans, as Debian 13's mke2fs makes one, and takes it away
# when it is unmounted. A mount finds no orphan in that file, and goes on.
_MOUNTED = "Feature orphan_present is set but orphan file is clean.\nClear? no\n"
_NEW = ".new"
"""What the name of a file ends with that is to replace another one; nobody reads it. Its short name is in capitals."""
_LOST_NAME = re.compile(r"Orphaned long file name part \"\S+\.new\"")


class FileSystem:
    """A copy of a partition or volume, which may be changed."""

    def __init__(self, path: Path) -> None:
        """Take the copy, and replay the journal, if it has one."""
        self.path = path
        with path.open("rb") as file:
            content = file.read(_HEAD_BYTES)
        self.is_ext4 = content[_EXT_MAGIC_AT : _EXT_MAGIC_AT + 2] == _EXT_MAGIC
        self.is_fat = not self.is_ext4 and content[510:512] == b"\x55\xaa" and b"FAT" in content[:90]
        if self.is_ext4:
            # What a node does before it mounts: replay the journal, and let go of files that have no name any more. By
            # the e2fsck of its release: that of Debian 12 leaves the file of orphans, which Debian 13 has, as it is.
            self.trouble = _failed(["e2fsck", "-p", path], {0, 1})
        else:
            self.trouble = "" if self.is_fat else "it holds no file system"

    def check(self) -> str:
        """Check it without changing it; return what is wrong, or nothing."""
        if self.trouble:
            return self.trouble
        if self.is_ext4:
            said = _failed(["e2fsck", "-f", "-n", self.path], {0})
            # It asks about each thing that it finds, and answers for us.
            return said if "? no\n" in said.replace(_MOUNTED, "", 1) or _MOUNTED not in said else ""
        said = _failed(["fsck.fat", "-n", self.path], {0}).splitlines()[1:]
        return "\n".join(said) if costs_a_file(said) else ""

    def read(self, names: dict[str, Path]) -> None:
        """Copy files out, by their path in it; one that is not there leaves no copy."""
        for target in names.values():
            target.unlink(missing_ok=True)
        if self.trouble:
            return
        if self.is_ext4:
            commands = "".join(f"dump {name} {target}\n" for name, target in names.items())
            subprocess.run(["debugfs", "-f", "-", self.path], input=commands.encode(), capture_output=True, check=False)
            for target in names.values():
                # debugfs makes the target before it looks for the source.
                if target.exists() and target.stat().st_size == 0 and not self._has(names, target):
                    target.unlink()
        else:
            for name, target in names.items():
                command = ["mcopy", "-n", "-i", self.path, f"::{name}", target]
                subprocess.run(command, capture_output=True, check=False)

    def _has(self, names: dict[str, Path], target: Path) -> bool:
        name = next(name for name, place in names.items() if place == target)
        said = subprocess.run(["debugfs", "-R", f"stat {name}", self.path], capture_output=True, check=False)
        return b"Inode:" in said.stdout


def costs_a_file(said: Sequence[str]) -> bool:
    """Say whether fsck.fat has found something that costs a file."""
    # A finding is one or more names, each on a line, and what is wrong with them, indented.
    excused: set[str] = set()
    names: list[str] = []
    is_told = False
    for line in said:
        if line.startswith("/") and ": " not in line:
            names = [*([] if is_told else names), line.removesuffix("  and")]
            is_told = False
        elif names and line.startswith(" "):
            is_told = True
            if any(name.lower().endswith(_NEW) for name in names):
                # In the instant of a rename both names lead to the new file.
                excused |= set(names)
            elif not excused.issuperset(names):
                return True
        else:
            names = []
            if not _HARMLESS.match(line) and not _LOST_NAME.match(line):
                return True
    return False


def _failed(command: list[str | Path], good: set[int]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return "" if done.returncode in good else f"{command[0]} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
