"""A server of releases behind a line that has a speed, so that what was sent can be counted."""

import threading
import time
from pathlib import Path

from support.hostile import Asked, Hostile, Reply

_PIECE = 16 * 1024


class Line:
    """The server; it says how much of packs went through, and when."""

    def __init__(self, www: Path, *, pause_s: float = 0.006, waits: bool = False, port: int = 0) -> None:
        """Serve a folder.

        Args:
            www: the folder.
            pause_s: between two pieces of 16 KiB, at least; so that what was sent has been taken, and is not in the
                buffers of the kernel.
            waits: send a piece only when the one before was taken, however slowly that is.
            port: 0: any.
        """
        self.sent = 0
        self._waits = waits
        self._times: list[tuple[float, int]] = []
        self.reached = threading.Event()
        self._until = 0
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self.server = Hostile(self._send, folder=www, about="full.pack", port=port)

    def wake_after(self, size: int) -> None:
        """Set `reached` after so many bytes more."""
        with self._lock:
            self.reached.clear()
            self._until = self.sent + size

    def sent_since(self, begin_s: float) -> int:
        """Return how many bytes were sent from an instant on, in monotonic time."""
        with self._lock:
            return sum(size for at_s, size in self._times if at_s >= begin_s)

    def _send(self, reply: Reply, asked: Asked) -> None:
        reply.part(asked)
        for at in range(asked.start, asked.stop, _PIECE):
            piece = asked.content[at : min(at + _PIECE, asked.stop)]
            reply.raw(piece)
            with self._lock:
                self.sent += len(piece)
                self._times.append((time.monotonic(), len(piece)))
                if self.sent >= self._until:
                    self.reached.set()
            time.sleep(self._pause_s)
            while self._waits and not reply.is_taken() and not reply.closing.is_set():
                time.sleep(self._pause_s)
