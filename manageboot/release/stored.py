"""Stored frames of a pack: the one place where they are read and verified, before anything else sees a byte of them."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from manageboot import errors
from manageboot.release.layout import Frame

KEPT_BYTES = 8 << 20
"""How much of the frames that were read last is kept, in case a later window needs one of them again."""

ReadStored = Callable[[int, int], bytes]
"""Gives the bytes of the pack at an offset, as many as are asked for; they need not be right."""


class Frames(Protocol):
    """What an index says of the frames of a pack: that of a release, or of a delta."""

    @property
    def offsets(self) -> Sequence[int]:
        """Where each frame begins in the pack, in bytes."""

    def frame(self, number: int) -> Frame:
        """Return a frame."""


class Verified(NamedTuple):
    """A stored frame that is the one which the index names."""

    number: int
    blocks: int
    """How much data it holds."""
    content: bytes


class FrameReader:
    """Reads frames, one after the other; for one thread."""

    def __init__(self, frames: Frames, read: ReadStored, name: str) -> None:
        """Read what an index tells of; `read` gives the bytes of the pack, which messages call by a name."""
        self._frames = frames
        self._read = read
        self._name = name
        self._recent = Recent()
        self._kept: dict[int, Verified] = {}

    def frame(self, number: int) -> Verified:
        """Return a frame.

        Raises:
            ReleaseDigestError: it is not what the index names.
            ManagebootError: what `read` raises.
        """
        if (kept := self._kept.get(number)) is None:
            stored = self._read(self._frames.offsets[number], self._frames.frame(number).size)
            kept = self._kept[number] = verify(self._frames, number, stored, self._name)
        for dropped in self._recent.use(number, len(kept.content)):
            del self._kept[dropped]
        return kept


class Recent:
    """Which frames are kept: those that were used last, as many as KEPT_BYTES hold, and the last one in any case."""

    def __init__(self) -> None:
        self._sizes: OrderedDict[int, int] = OrderedDict()
        self._total = 0

    def __contains__(self, number: int) -> bool:
        return number in self._sizes

    def use(self, number: int, size: int) -> list[int]:
        """Say that a frame is used; return those that are not kept any more."""
        self._total += size - self._sizes.pop(number, 0)
        self._sizes[number] = size
        dropped = []
        while self._total > KEPT_BYTES and len(self._sizes) > 1:
            oldest, freed = self._sizes.popitem(last=False)
            self._total -= freed
            dropped.append(oldest)
        return dropped


def verify(frames: Frames, number: int, stored: bytes, name: str) -> Verified:
    """Make sure that a stored frame is the one that the index names; messages call the pack by a name.

    Raises:
        ReleaseDigestError: it is not.
    """
    frame = frames.frame(number)
    if len(stored) != frame.size:
        cause = f"{len(stored)} bytes are there instead of {frame.size}"
        raise errors.ReleaseDigestError(f"cannot read {place(frames, number, name)}: {cause}")
    if (found := hashlib.sha256(stored).digest()) != frame.sha256:
        cause = f"its SHA-256 is {found.hex()}, and {frame.sha256.hex()} was published"
        raise errors.ReleaseDigestError(f"cannot read {place(frames, number, name)}: {cause}")
    return Verified(number, frame.blocks, stored)


def place(frames: Frames, number: int, name: str) -> str:
    """Name a frame in a message."""
    return f"{name} at {frames.offsets[number]}, frame {number}"
