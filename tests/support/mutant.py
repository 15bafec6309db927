"""Deliberate faults: what has to find each of them says in which copy of the program, and adds what it needs."""

from dataclasses import dataclass

from qemu_harness.process import HarnessError


@dataclass(frozen=True)
class Mutant:
    """One fault: in this file, this text becomes that."""

    name: str
    file: str
    old: str
    new: str

    def changed(self, text: str) -> str:
        """Return the text of the file with the fault.

        Raises:
            HarnessError: its place is not there, or more than once.
        """
        if (count := text.count(self.old)) != 1:
            raise HarnessError(f"{self.file} has {self.old!r} {count} times, and not once")
        return text.replace(self.old, self.new)
