"""What a disk was asked for since its last flush, and the disk as it is when some of that is lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from powercuts.cuts import SECTOR, Cut
from powercuts.replay import Replay, Undo


class Write(NamedTuple):
    """A write, with its data."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        """The byte after it."""
        return self.offset + len(self.data)


class Pending:
    """The writes since the last flush; the replay has them all."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._writes: list[Write] = []
        self._undos: list[Undo] = []
        self._overlapping: set[int] = set()
        """Those that share bytes with another one."""

    @property
    def sizes(self) -> list[int]:
        """In bytes, in their order."""
        return [len(write.data) for write in self._writes]

    @property
    def bulk(self) -> int:
        """How much they are together, in bytes."""
        return sum(self.sizes)

    @property
    def regions(self) -> set[str]:
        """Where they went."""
        return {self._replay.owner(write.offset) for write in self._writes}

    def write(self, write: Write) -> None:
        """Let a write reach the disk."""
        number = len(self._writes)
        shared = [n for n, old in enumerate(self._writes) if old.offset < write.end and write.offset < old.end]
        if shared:
            self._overlapping |= {*shared, number}
        self._writes.append(write)
        self._undos.append(self._replay.write(write.offset, write.data))

    def flush(self) -> None:
        """From here on, nothing of them is lost."""
        self._writes, self._undos, self._overlapping = [], [], set()

    @contextmanager
    def cut(self, cut: Cut) -> Iterator[None]:
        """Let the replay be what a cut leaves."""
        done: list[Undo] = []
        try:
            self._lose(cut, done)
            yield
        finally:
            self._replay.undo(done)

    def settle(self, cut: Cut) -> None:
        """Let the disk be what a cut leaves, for good."""
        self._lose(cut, [])
        self.flush()

    def _lose(self, cut: Cut, done: list[Undo]) -> None:
        if cut.kept is None:
            return
        kept = set(cut.kept)
        torn = cut.kept[-1] if cut.torn else None
        gone = [number for number in range(len(self._writes)) if number not in kept or number == torn]
        if not gone:
            return
        # Alone, where nothing else touches their bytes; or else all since the first of them, and forward again.
        alone = not self._overlapping.intersection(gone)
        back = gone if alone else range(gone[0], len(self._writes))
        # One by one, so that whatever ends this finds what was done.
        for number in reversed(back):
            done += [self._replay.write(*self._undos[number])]
        if not alone:
            for number in back:
                if number in kept and number != torn:
                    write = self._writes[number]
                    done += [self._replay.write(write.offset, write.data)]
        if torn is not None and cut.torn:
            write = self._writes[torn]
            begin, end = (place * SECTOR for place in cut.torn)
            done.append(self._replay.write(write.offset + begin, write.data[begin:end]))
