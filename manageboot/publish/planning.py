"""What is to become of each window of new images: what is copied out of old ones, and what goes into a frame."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from manageboot.publish.content import Content
from manageboot.publish.copies import OldBlocks, Run
from manageboot.publish.cutting import Cutter
from manageboot.release.deltalayout import Operation
from manageboot.release.layout import BLOCK_BYTES, COPY, REPLACE, WINDOW_BLOCKS, ZERO


class Plan(NamedTuple):
    """A window of a new image."""

    content: Content
    number: int
    operations: list[Operation]
    """Those of frames are all REPLACE yet."""
    frame: int | None
    """The frame that its new data makes; None: it has none."""

    @property
    def frame_bytes(self) -> int:
        """How much its own frame holds, in bytes."""
        own = (one.blocks for one in self.operations if one.code == REPLACE and one.origin == self.frame)
        return sum(own) * BLOCK_BYTES

    def data(self) -> bytes:
        """Return what its own frame holds."""
        pieces, at = [], self.number * WINDOW_BLOCKS
        for operation in self.operations:
            if operation.code == REPLACE and operation.origin == self.frame:
                pieces.append(self.content.extent(at, operation.blocks))
            at += operation.blocks
        return b"".join(pieces)


def plans(old: Sequence[Content], new: Sequence[Content]) -> Iterator[Plan]:
    """Plan the windows of all new images, in order."""
    blocks, cutter, frames = OldBlocks(old), Cutter(), 0
    for content in new:
        runs = _by_window(blocks.copies(content))
        ahead = next(runs, None)
        for number in content.windows:
            copies: list[Run] = []
            while ahead is not None and ahead.start < (number + 1) * WINDOW_BLOCKS:
                copies.append(ahead._replace(start=ahead.start - number * WINDOW_BLOCKS))
                ahead = next(runs, None)
            window = memoryview(bytearray(content.window(number)))
            for run in copies:
                window[run.start * BLOCK_BYTES : (run.start + run.blocks) * BLOCK_BYTES] = bytes(
                    run.blocks * BLOCK_BYTES
                )
            # What is copied is zeros for the cutter, which finds out what the pack has already.
            cut = cutter.cut(window)
            operations = list(_operations(((one.blocks, one.frame, one.first) for one in cut.operations), copies))
            yield Plan(content, number, operations, frames if cut.data else None)
            frames += bool(cut.data)


def _by_window(runs: Iterator[Run]) -> Iterator[Run]:
    """Cut runs where a window ends."""
    for run in runs:
        done = 0
        while done < run.blocks:
            start = run.start + done
            count = min(run.blocks - done, WINDOW_BLOCKS - start % WINDOW_BLOCKS)
            yield Run(start, count, run.image, run.first + done)
            done += count


def _operations(cut: Iterator[tuple[int, int | None, int]], copies: Sequence[Run]) -> Iterator[Operation]:
    """Put the copies of a window where the cutter saw zeros."""
    at, ahead = 0, list(reversed(copies))
    for blocks, frame, first in cut:
        end = at + blocks
        if frame is not None:
            yield Operation(REPLACE, blocks, frame, first)
            at = end
        while at < end:
            if ahead and ahead[-1].start == at:
                run = ahead.pop()
                yield Operation(COPY, run.blocks, run.image, run.first)
                at += run.blocks
            else:
                zeros = min(end, ahead[-1].start if ahead else end) - at
                yield Operation(ZERO, zeros)
                at += zeros
