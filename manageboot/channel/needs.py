"""Which frames of a pack are needed, and what they have to be: for whoever fetches them."""

from bisect import bisect_right

from manageboot.release.frames import check_frame
from manageboot.release.index import Index


class Needs:
    """The frames of a pack that are still to be read."""

    def __init__(self, index: Index, name: str) -> None:
        """Need all of them.

        Args:
            index: of the pack.
            name: what messages call the pack.
        """
        self._index = index
        self._name = name
        self._open = bytearray(b"\1" * index.frame_count)
        self.in_order = False
        """Whether the pack is being read from its begin to its end, and not a frame here and there."""

    def judge(self, offset: int, stored: bytes) -> None:
        """Make sure that a stored frame is the one that belongs at an offset.

        Raises:
            ReleaseDigestError: it is not.
        """
        number = self._number(offset)
        check_frame(self._index.frame(number), stored, f"{self._name} at {offset}, frame {number}")
        self._open[number] = 0

    def end(self, offset: int) -> int:
        """Return where the frames end that are needed from an offset on, without a gap."""
        number = self._number(offset)
        after = number + 1
        if self.in_order and self._open[number]:
            after = self._open.find(0, number)
        return self._index.offsets[after] if 0 < after < self._index.frame_count else self._index.pack_size

    def _number(self, offset: int) -> int:
        return bisect_right(self._index.offsets, offset) - 1
