"""SIGINT, SIGTERM, SIGHUP: they end a run while that leaves no trace, and no longer when it is done in all but name."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Terminated(BaseException):
    """SIGTERM or SIGHUP came; unwinds the stack, so that the lock is freed and a failure recorded."""


def listen() -> None:
    """Let SIGINT raise KeyboardInterrupt, SIGTERM and SIGHUP raise Terminated.

    Only the first one does: nothing cuts the cleaning up short. Where the caller has SIGHUP ignored, as nohup does, it
    stays ignored.
    """
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _terminate)


def hold() -> None:
    """Ignore them all from now on, if this run listens to them.

    Called before the write after which the caller has to be told of success: a run that was ended there would be called
    a failure, and what it did would count.
    """
    if signal.getsignal(signal.SIGTERM) is _terminate:
        ignore()


def ignore() -> None:
    """Ignore them all from now on."""
    _answer_with(signal.SIG_IGN)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    _answer_with(_do_nothing)
    raise KeyboardInterrupt


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    _answer_with(_do_nothing)
    raise Terminated


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Take a second signal that came with the first: Python complains of one that is ignored only when it is there."""


def _answer_with(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in _NUMBERS:
        signal.signal(number, handler)
