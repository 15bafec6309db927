"""Patience: which mirror is asked next, and when. Pure: time and chance come in from where it is used."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from manageboot.fetch.outcome import ENDS_FILE, ERRORS, Outcome

_BACKOFF_MAX_S = 300.0
_PROGRESS = 4096
"""Bytes that a connection has to bring, so that its end is not held against the mirror."""


class Traffic(NamedTuple):
    """What went to and came from a mirror in a run."""

    mirror: str
    requests: int
    bytes: int
    """What came of files, what was of no use included."""
    skipped: int
    """What came though it lay before what was asked for; not in `bytes`."""
    retries: int
    """How often a request failed."""
    code: str | None
    """The code word of the last failure; None: there was none."""
    is_out: bool
    """It is not asked again in this run."""


def together(parts: Sequence[Traffic]) -> Traffic:
    """Return what went to and came from one mirror in several runs."""
    first = parts[0]
    return first._replace(
        requests=sum(part.requests for part in parts),
        bytes=sum(part.bytes for part in parts),
        skipped=sum(part.skipped for part in parts),
        retries=sum(part.retries for part in parts),
        code=next((part.code for part in parts if part.code is not None), None),
        is_out=any(part.is_out for part in parts),
    )


class Trouble(NamedTuple):
    """A request that failed, as the caller may tell of it."""

    mirror: str
    name: str
    outcome: Outcome
    text: str


class Mirror:
    """What is known of one mirror in this run."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.failures = 0
        """Since it last delivered."""
        self.ready_s = 0.0
        self.is_out = False
        self.last: Trouble | None = None
        self.requests = self.bytes = self.skipped = self.retries = 0


class Mirrors:
    """All mirrors, in the order of the configuration: the first is asked first."""

    def __init__(self, bases: Sequence[str], backoff_s: float, chance: Random) -> None:
        """Begin a run, in which each mirror is as good as the other.

        Args:
            bases: their URLs.
            backoff_s: seconds before a mirror that failed is asked again.
            chance: for the jitter.
        """
        self.all = [Mirror(base) for base in bases]
        self._backoff_s = backoff_s
        self._chance = chance

    def choose(self, ended: frozenset[Mirror], now_s: float) -> Mirror | None:
        """Return the mirror to ask next, once it is `ready_s`; None: none is left.

        Args:
            ended: those that are not asked for this file.
            now_s: the time, monotonic.
        """
        left = [mirror for mirror in self.all if not mirror.is_out and mirror not in ended]
        ready = [mirror for mirror in left if mirror.ready_s <= now_s]
        if ready:
            return min(ready, key=lambda mirror: mirror.failures)
        return min(left, key=lambda mirror: mirror.ready_s, default=None)

    def delivered(self, mirror: Mirror) -> None:
        """Note that a piece from a mirror was good."""
        mirror.failures = 0
        mirror.ready_s = 0.0

    def failed(
        self, mirror: Mirror, trouble: Trouble, *, now_s: float, retry_after_s: int = 0, brought: int = 0
    ) -> None:
        """Note that a request failed.

        Args:
            mirror: which was asked.
            trouble: what happened.
            now_s: the time, monotonic.
            retry_after_s: seconds for which the mirror wants to be left alone.
            brought: bytes that came before.
        """
        mirror.last = trouble
        mirror.retries += 1
        if trouble.outcome == Outcome.LIED:
            mirror.is_out = True
        if trouble.outcome in ENDS_FILE or (trouble.outcome == Outcome.BROKEN and brought >= _PROGRESS):
            return
        mirror.failures += 1
        mirror.ready_s = now_s + max(float(retry_after_s), self._delay_s(mirror.failures))

    def traffic(self) -> tuple[Traffic, ...]:
        """Return what went to and came from each mirror so far."""
        return tuple(
            Traffic(
                mirror.base,
                mirror.requests,
                mirror.bytes,
                mirror.skipped,
                mirror.retries,
                None if mirror.last is None else ERRORS[mirror.last.outcome].code,
                mirror.is_out,
            )
            for mirror in self.all
        )

    def _delay_s(self, failures: int) -> float:
        """Return how long to wait: twice as long with each failure, and never the same for two nodes."""
        longest_s = min(_BACKOFF_MAX_S, self._backoff_s * float(2 ** min(failures - 1, 30)))
        return longest_s * self._chance.uniform(0.5, 1)
