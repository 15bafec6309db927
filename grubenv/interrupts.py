"""SIGINT, SIGTERM, SIGHUP: they end a run in good order, the block as before or as after."""

from __future__ import annotations

# The module `signal` makes enumerations of it, which takes longer than a query. It has no types.
import _signal  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
_NUMBERS = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)


class Terminated(BaseException):
    """SIGTERM or SIGHUP came; unwinds the stack, so that temporary files go."""


def listen() -> None:
    """Let the first signal raise KeyboardInterrupt or Terminated, and no later one cut the cleaning up short.

    What the caller has ignored, as nohup does, stays ignored.
    """
    for number in _NUMBERS:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, _end)


def ignore() -> None:
    """Ignore them all from now on: it is done, and its exit code says so."""
    for number in _NUMBERS:
        _signal.signal(number, _signal.SIG_IGN)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    for each in _NUMBERS:
        _signal.signal(each, _do_nothing)
    raise KeyboardInterrupt if number == _signal.SIGINT else Terminated


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Take a signal that came with the first one: Python complains of one that is ignored only when it is there."""
