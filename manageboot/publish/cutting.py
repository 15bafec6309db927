"""Cuts a window of an image into operations: zeros, data that the pack has already, and data that is new.

It remembers 16 bytes for each block of the pack, and one block in four by its content; from there a run of blocks that
the pack has is followed in both directions. Shorter runs are not worth it: whoever needs them reads another frame.
"""

import hashlib
from array import array
from bisect import bisect_right
from typing import NamedTuple

from manageboot.disk.buffer import all_zeros
from manageboot.release.layout import BLOCK_BYTES, Operation

RUN_BLOCKS_MIN = 64
"""256 KiB. So a window needs its own frame and four others at most."""

_DIGEST_BYTES = 16
_FOUND_BELOW = 64
"""A block whose digest begins with a lower byte can be found by its content: one in four."""


class Cut(NamedTuple):
    """A window, cut."""

    operations: tuple[Operation, ...]
    data: bytes
    """What its own frame holds; empty: it needs none."""


class Cutter:
    """Cuts windows, one after the other; their new data goes into frames in the same order."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._found: dict[bytes, int] = {}
        self._frames = array("Q")
        """The first block of each frame, counted over the whole pack."""

    def cut(self, window: memoryview) -> Cut:
        """Cut a window.

        Args:
            window: whole blocks, contiguous and writable.
        """
        blocks = [window[at : at + BLOCK_BYTES] for at in range(0, len(window), BLOCK_BYTES)]
        digests = [b"" if all_zeros(block) else _digest(block) for block in blocks]
        origins = self._origins(digests)
        new = [at for at, digest in enumerate(digests) if digest and at not in origins]
        frame = len(self._frames)
        places = {at: (frame, first) for first, at in enumerate(new)} | origins
        if new:
            self._remember([digests[at] for at in new])
        return Cut(_operations(len(blocks), places), b"".join(blocks[at] for at in new))

    def _remember(self, digests: list[bytes]) -> None:
        start = len(self._digests) // _DIGEST_BYTES
        self._frames.append(start)
        self._digests += b"".join(digests)
        for number, digest in enumerate(digests, start):
            if digest[0] < _FOUND_BELOW:
                self._found.setdefault(digest, number)

    def _origins(self, digests: list[bytes]) -> dict[int, tuple[int, int]]:
        """Return, of the blocks that the pack has in long runs, their frame and place in it."""
        origins: dict[int, tuple[int, int]] = {}
        at = end = 0
        while at < len(digests):
            number = self._found.get(digests[at])
            if number is not None:
                frame = bisect_right(self._frames, number) - 1
                begin, end_of_run = self._run(digests, at, number, frame, floor=end)
                if end_of_run - begin >= RUN_BLOCKS_MIN:
                    shift = number - at - self._frames[frame]
                    origins |= {block: (frame, block + shift) for block in range(begin, end_of_run)}
                    at = end = end_of_run
                    continue
            at += 1
        return origins

    def _run(self, digests: list[bytes], at: int, number: int, frame: int, *, floor: int) -> tuple[int, int]:
        """Follow a block that is in a frame in both directions, and return the first block of the run and its end."""
        first = self._frames[frame]
        last = self._frames[frame + 1] if frame + 1 < len(self._frames) else len(self._digests) // _DIGEST_BYTES
        begin, end = at, at + 1
        while (
            begin > floor and number - (at - begin) > first and self._is(number - (at - begin) - 1, digests[begin - 1])
        ):
            begin -= 1
        while end < len(digests) and number + (end - at) < last and self._is(number + (end - at), digests[end]):
            end += 1
        return begin, end

    def _is(self, number: int, digest: bytes) -> bool:
        return self._digests[number * _DIGEST_BYTES : (number + 1) * _DIGEST_BYTES] == digest


def _digest(block: memoryview) -> bytes:
    return hashlib.blake2b(block, digest_size=_DIGEST_BYTES).digest()


def _operations(count: int, places: dict[int, tuple[int, int]]) -> tuple[Operation, ...]:
    found: list[Operation] = []
    for at in range(count):
        frame, first = places.get(at, (None, 0))
        last = found[-1] if found else None
        if last is not None and last.frame == frame and (frame is None or last.first + last.blocks == first):
            found[-1] = last._replace(blocks=last.blocks + 1)
        else:
            found.append(Operation(1, frame, first))
    return tuple(found)
