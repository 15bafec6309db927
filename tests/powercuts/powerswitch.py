"""Takes the power from a node in QEMU: at an instant, at a write, or when somebody wants the end."""

import os
import signal
import threading
import time
from contextlib import suppress
from multiprocessing.synchronize import Event
from pathlib import Path
from types import TracebackType
from typing import Self

_LOOK_S = 0.25
_WRITE_LOOK_S = 0.001


class PowerSwitch:
    """The switch of one machine; a context manager."""

    def __init__(self, pid: int, log: Path, stop: Event) -> None:
        """Connect a machine.

        Args:
            pid: the process of QEMU.
            log: of its writes.
            stop: ends everything; so does the end of the process that has started this one.
        """
        self._pid = pid
        self._log = log
        self._stop = stop
        self._parent = os.getppid()
        self._deadline_s: float | None = None
        self._size: int | None = None
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._is_over = False
        self.is_off = False
        self.was_stopped = False
        """It was not the dice that took the power."""
        self.was_at_write = False

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        self._woken.set()
        self._thread.join()

    def set(self, seconds: float) -> None:
        """Let the power go in so many seconds, unless that was set already."""
        if self._deadline_s is None and self._size is None:
            self._deadline_s = time.monotonic() + seconds
            self._woken.set()

    def set_at_write(self, growth: int) -> None:
        """Let the power go when the log has so many bytes more, unless that was set already."""
        if self._deadline_s is None and self._size is None:
            self._size = self._log.stat().st_size + growth
            self._woken.set()

    def off(self) -> None:
        """Take the power at once.

        QEMU is stopped before it is killed: a write to its log that has begun is done then, and none is half there.
        """
        with self._lock:
            if self.is_off:
                return
            # Where QEMU has ended by itself, who talks to the node finds that out, and says so.
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._pid, signal.SIGSTOP)
                os.waitid(os.P_PID, self._pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                self.is_off = True
                os.kill(self._pid, signal.SIGKILL)

    def _watch(self) -> None:
        while not self.is_off and not self._is_over:
            self._woken.clear()
            left_s = _LOOK_S if self._deadline_s is None else self._deadline_s - time.monotonic()
            if self._size is not None:
                left_s = _WRITE_LOOK_S
                if self._log.stat().st_size >= self._size:
                    self.was_at_write, left_s = True, 0.0
            if self._stop.is_set() or os.getppid() != self._parent:
                self.was_stopped = True
            if self.was_stopped or left_s <= 0:
                self.off()
            self._woken.wait(min(max(left_s, 0.001), _LOOK_S))
