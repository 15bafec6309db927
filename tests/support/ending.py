"""A signal ends a long proof between two steps, never within one: so no device, folder or command is forgotten."""

import signal
from types import FrameType

_asked: list[int] = []


def listen() -> None:
    """Note SIGINT, SIGTERM and SIGHUP from now on."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _note)


def _note(number: int, _frame: FrameType | None) -> None:
    _asked.append(number)


def end_if_asked() -> None:
    """End with the status that a signal has, if there was one; to be called in whatever takes longer than a moment.

    Raises:
        SystemExit: there was one.
    """
    if _asked:
        raise SystemExit(128 + _asked[0])
