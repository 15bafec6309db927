"""How a request can end, and which error of ours that is."""

from enum import IntEnum

from manageboot.fetch import failures


class Outcome(IntEnum):
    """How a request ended. The numbers go through the pipe."""

    DONE = 0
    """All that was asked for is there, or all that the server would send of it."""
    NO_ROUTE = 1
    NO_NAME = 2
    TLS = 3
    CLOCK = 4
    """TLS, and the clock of this node is outside the time in which the certificate is valid."""
    REFUSED = 5
    """401, 403, 407."""
    GONE = 6
    """404, 410."""
    BUSY = 7
    """429, 503."""
    STALLED = 8
    BROKEN = 9
    """The connection ended too early."""
    FAILED = 10
    """The server answered with an error that tells nothing more."""
    LIED = 11
    """What came can't be what was asked for, whatever the line did."""


ENDS_FILE = frozenset({Outcome.REFUSED, Outcome.GONE})
"""The mirror is not asked for this file again."""

ERRORS: dict[Outcome, type[failures.FetchError]] = {
    Outcome.DONE: failures.FetchBrokenError,
    Outcome.NO_ROUTE: failures.FetchNoRouteError,
    Outcome.NO_NAME: failures.FetchNoNameError,
    Outcome.TLS: failures.FetchTlsError,
    Outcome.CLOCK: failures.FetchClockError,
    Outcome.REFUSED: failures.FetchRefusedError,
    Outcome.GONE: failures.FetchGoneError,
    Outcome.BUSY: failures.FetchDeadlineError,
    Outcome.STALLED: failures.FetchStalledError,
    Outcome.BROKEN: failures.FetchBrokenError,
    Outcome.FAILED: failures.FetchBrokenError,
    Outcome.LIED: failures.FetchLiedError,
}
"""What is raised when no mirror is left, or no time, and this was the last that was tried."""

_STATUS = {
    401: Outcome.REFUSED,
    403: Outcome.REFUSED,
    404: Outcome.GONE,
    407: Outcome.REFUSED,
    410: Outcome.GONE,
    416: Outcome.LIED,
    429: Outcome.BUSY,
    503: Outcome.BUSY,
}


def of_status(status: int) -> Outcome:
    """Judge the status of an answer that is neither content nor a redirect."""
    return _STATUS.get(status, Outcome.FAILED)
