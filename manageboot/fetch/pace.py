"""Whether a server stalls: it sends next to nothing for too long. And whether it is read too quickly for our limit."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

_SLOW = 128
"""Bytes a second: less is a stall. The slowest modems were quicker."""
_LINGER_S = 0.5
"""Time for the end of an answer whose bytes are all there, so that its connection can be used again."""


class Limit:
    """How much is read in a second, at most. Of ours, since that of curl lets whole megabytes past in some releases."""

    def __init__(self, rate: int | None) -> None:
        """Begin.

        Args:
            rate: bytes a second; None: there is no limit.
        """
        self._rate = rate
        self._free_s = 0.0

    def wait(self, size: int) -> None:
        """Wait until so many bytes are within the limit."""
        if self._rate is None:
            return
        now_s = time.monotonic()
        self._free_s = max(self._free_s, now_s) + size / self._rate
        time.sleep(self._free_s - now_s)


class Pace:
    """How quickly an answer comes, over windows of time."""

    def __init__(self, stall_s: float) -> None:
        """Begin the first window.

        Args:
            stall_s: how long a window is.
        """
        self._stall_s = stall_s
        self._began_s = self._last_s = time.monotonic()
        self._paused_s = 0.0
        self._bytes = 0

    def count(self, size: int) -> None:
        """Add bytes that came."""
        self._bytes += size
        self._last_s = time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not hold the server to the time that this takes."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self._paused_s += time.monotonic() - began_s
            self._last_s = time.monotonic()

    def is_stalled(self) -> bool:
        """Tell whether a window is over in which too little came."""
        now_s = time.monotonic()
        window_s = now_s - self._began_s - self._paused_s
        if window_s < self._stall_s:
            return False
        if self._bytes < _SLOW * window_s:
            return True
        self._began_s, self._paused_s, self._bytes = now_s, 0.0, 0
        return False

    def is_over(self) -> bool:
        """Tell whether nothing came for so long that the end of the answer will not come soon either."""
        return time.monotonic() - self._last_s > _LINGER_S

    def text(self) -> str:
        """Say what a stall was."""
        return f"it sent {self._bytes} bytes in {self._stall_s:g} s"
