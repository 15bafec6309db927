"""What windows cost: the bytes of a pack that have to be there for them."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from manageboot.release.stored import Frames


class _Operation(Protocol):
    @property
    def frame(self) -> int | None: ...


class _Window(Protocol):
    @property
    def operations(self) -> Sequence[_Operation]: ...


def frames_of(windows: Iterable[_Window]) -> list[int]:
    """Return which frames some windows need, of a release or of a delta, in the order of the pack."""
    needed = {operation.frame for window in windows for operation in window.operations}
    return sorted(frame for frame in needed if frame is not None)


def pack_bytes(frames: Frames, windows: Iterable[_Window]) -> int:
    """Return the size of the frames that some windows need, each counted once."""
    return sum(frames.frame(number).size for number in frames_of(windows))
