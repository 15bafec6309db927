"""Fetches files, and parts of files, from whichever mirror delivers; whoever asks judges what comes."""

import threading
import time
from collections.abc import Callable, Sequence
from random import Random
from types import TracebackType
from typing import Self

from manageboot import errors
from manageboot.fetch import failures
from manageboot.fetch import options as fetch_options
from manageboot.fetch.mirrors import Mirror, Mirrors, Traffic, Trouble
from manageboot.fetch.options import Options
from manageboot.fetch.outcome import ENDS_FILE, ERRORS, Outcome
from manageboot.fetch.process import Worker
from manageboot.fetch.stream import RequestError, Stream
from manageboot.fetch.wire import End, Request, WireError

_FRESH = frozenset({Outcome.NO_ROUTE, Outcome.NO_NAME, Outcome.TLS, Outcome.CLOCK})
"""After these, another child: the resolver's configuration or the certificates may have changed."""
_DRAIN_S = 2.0
_WORST = (Outcome.LIED, Outcome.REFUSED, Outcome.GONE)
"""When no mirror is left, which of their reasons counts."""


class File:
    """What a run knows of one file: where it is not, and until when the next piece has to be there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shown = name.partition("?")[0]
        """Without what may be a password."""
        self.ended: set[Mirror] = set()
        self.deadline_s: float | None = None
        self.troubles: dict[Mirror, Trouble] = {}
        """The last of each mirror."""
        self.last: Trouble | None = None
        """The last of any, since a piece was good."""


class Fetcher:
    """A run: all that is fetched for one purpose, from the same mirrors. What lied in it stays out of it."""

    def __init__(
        self,
        mirrors: Sequence[str],
        options: Options,
        *,
        chance: Random | None = None,
        tell: Callable[[Trouble], None] | None = None,
    ) -> None:
        """Begin a run; no child is started yet.

        Args:
            mirrors: base URLs, the best first; names are put at their end.
            options: how to fetch.
            chance: for the jitter; None: what the system gives.
            tell: called for each request that failed.

        Raises:
            ConfigError: a base URL can't be fetched from.
        """
        self._bases = tuple(fetch_options.base_url(url) for url in mirrors)
        if not self._bases:
            raise errors.ConfigError("cannot fetch: no mirror is configured")
        self._options = options
        self._mirrors = Mirrors(self._bases, options.backoff, chance or Random())
        self._tell = tell
        self._worker: Worker | None = None
        self._stream: Stream | None = None
        self._cancelled = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the run, and its child."""
        self._stream = None
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def cancel(self) -> None:
        """Make whoever waits for bytes fail, and whoever asks for more; any other thread may ask for that."""
        self._cancelled.set()
        if (worker := self._worker) is not None:
            worker.kill()

    def traffic(self) -> tuple[Traffic, ...]:
        """Return what went to and came from each mirror so far."""
        return self._mirrors.traffic()

    @property
    def worker_pid(self) -> int | None:
        """The process of the child; None: there is none now."""
        return None if self._worker is None else self._worker.pid

    def begin(self, file: File, mirror: Mirror, offset: int, length: int, *, whole: bool = False) -> Stream:
        """Ask a mirror for a part of a file. What is still under way is ended.

        Args:
            file: which.
            mirror: whom.
            offset: in bytes.
            length: in bytes, or TO_THE_END.
            whole: do not ask for a range.

        Raises:
            RequestError: the child is gone.
            FetcherError, NotPermittedError, ConfigError: it can't be started.
            FetchError: the run was cancelled.
        """
        if self._stream is not None and not self._stream.drain(_DRAIN_S):
            self.close()
        if self._worker is None:
            try:
                self._worker = Worker(self._options, self._bases)
            except WireError as error:
                raise RequestError(End(Outcome.BROKEN, str(error)), clean=False) from error
        # Looked at once there is a child, so that either this sees it, or `cancel` sees the child.
        self._check_cancelled(file)
        mirror.requests += 1
        request = Request(mirror.base + file.name, offset, length, whole)
        # The longest that it can be silent: each redirect may take the time of a stall several times.
        self._stream = Stream(self._worker, request, 60 + 20 * self._options.stall)
        return self._stream

    def is_under_way(self, stream: Stream) -> bool:
        """Tell whether a request is still the last one: somebody else may have asked for another file since."""
        return stream is self._stream

    def deadline_of(self, file: File) -> float:
        """Return until when the next piece of a file has to be there, in monotonic time; it runs from now on."""
        if file.deadline_s is None:
            file.deadline_s = time.monotonic() + self._options.deadline
        return file.deadline_s

    def patience_of(self, file: File, mirror: Mirror) -> float:
        """Return until when a mirror has for the next piece, in monotonic time: where there is another one, half of it.

        Else one that sends just so much that it does not stall would take the time of those that deliver.
        """
        deadline_s = self.deadline_of(file)
        left_s = deadline_s - time.monotonic()
        others = [one for one in self._mirrors.all if not one.is_out and one not in file.ended and one is not mirror]
        # What is left in the end is not halved again and again.
        return deadline_s - left_s / 2 if others and left_s > 2 * self._options.stall else deadline_s

    def choose(self, file: File) -> Mirror:
        """Return the mirror to ask next for a file, after the time in which it wants to be left alone.

        Raises:
            FetchError: no mirror is left, or none before the deadline, or the run was cancelled.
        """
        self._check_cancelled(file)
        now_s, deadline_s = time.monotonic(), self.deadline_of(file)
        mirror = self._mirrors.choose(frozenset(file.ended), now_s)
        if mirror is None:
            raise self._nobody_left(file)
        if max(mirror.ready_s, now_s) >= deadline_s:
            raise self.too_late(file)
        self._cancelled.wait(max(0.0, mirror.ready_s - now_s))
        self._check_cancelled(file)
        return mirror

    def failed(self, file: File, mirror: Mirror, error: RequestError, brought: int) -> None:
        """Note that a request failed.

        Args:
            file: which was asked for.
            mirror: who was asked.
            error: how.
            brought: bytes that came before.
        """
        end = error.end
        if not error.clean or end.outcome in _FRESH:
            self.close()
        self._stream = None
        self._note(file, mirror, end, brought)

    def reject(self, file: File, mirror: Mirror, cause: str) -> None:
        """Note that what a mirror sent was wrong; it is not asked again in this run."""
        # Whatever else is on its way from there is wrong as well.
        self.close()
        self._note(file, mirror, End(Outcome.LIED, cause), 0)

    def delivered(self, file: File, mirror: Mirror) -> None:
        """Note that what a mirror sent was good."""
        file.deadline_s = None
        file.last = None
        self._mirrors.delivered(mirror)

    def too_late(self, file: File) -> failures.FetchError:
        """Return the error for a file of which the next piece did not come in time."""
        kind = failures.FetchDeadlineError if file.last is None else ERRORS[file.last.outcome]
        causes = self._causes(file) or "it comes too slowly"
        return kind(f"cannot fetch {file.shown} within {self._options.deadline:g} s: {causes}")

    def ran_out(self, file: File, mirror: Mirror, brought: int) -> None:
        """Note that the time of a mirror was over before a piece was whole.

        Raises:
            FetchError: no time is left for another one either.
        """
        if time.monotonic() >= self.deadline_of(file):
            self.close()
            raise self.too_late(file)
        self.failed(file, mirror, RequestError(End(Outcome.BUSY, "it comes too slowly"), clean=False), brought)

    def lacking(self, file: File) -> failures.FetchError:
        """Return the error for a file that the mirror that was asked last does not have, or does not give."""
        assert file.last is not None
        return ERRORS[file.last.outcome](f"cannot fetch {file.shown}: {self._causes(file)}")

    def _check_cancelled(self, file: File) -> None:
        if self._cancelled.is_set():
            raise failures.FetchBrokenError(f"cannot fetch {file.shown}: it was cancelled")

    def _note(self, file: File, mirror: Mirror, end: End, brought: int) -> None:
        trouble = Trouble(mirror.base, file.name, end.outcome, end.text)
        mirror.skipped += end.skipped
        file.troubles[mirror] = file.last = trouble
        if end.outcome in ENDS_FILE:
            file.ended.add(mirror)
        self._mirrors.failed(mirror, trouble, now_s=time.monotonic(), retry_after_s=end.retry_after_s, brought=brought)
        if self._tell is not None:
            self._tell(trouble)

    def _nobody_left(self, file: File) -> failures.FetchError:
        # A mirror may be out because of another file.
        outs = {mirror: mirror.last for mirror in self._mirrors.all if mirror.is_out and mirror.last is not None}
        file.troubles = {**outs, **file.troubles}
        outcomes = {trouble.outcome for trouble in file.troubles.values()}
        kind = ERRORS[next(outcome for outcome in _WORST if outcome in outcomes)]
        return kind(f"cannot fetch {file.shown}: {self._causes(file)}")

    def _causes(self, file: File) -> str:
        return "; ".join(f"{mirror.base}: {trouble.text}" for mirror, trouble in file.troubles.items())
