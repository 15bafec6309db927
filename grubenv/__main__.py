"""Start the command line, `python -m grubenv` and the script `grubenv`; whatever happens, it ends with one line."""

from __future__ import annotations

# The module `signal` makes enumerations of it, which takes longer than a query.
import _signal  # type: ignore[import-not-found]  # it has no types
import sys

from grubenv.cli.output import NobodyReadsError, open_standard_files, say
from grubenv.errors import GrubEnvError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

EXIT_USAGE = 2
EXIT_BUG = 70
EXIT_IO = 74
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
_SIGNALS = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)


class Terminated(BaseException):
    """SIGTERM or SIGHUP came; unwinds the stack, so that temporary files go."""


def main(argv: list[str] | None = None) -> int:
    """Carry out one command line and return its exit code.

    Args:
        argv: the arguments behind the program's name; None: those of this process, whose signals are then dealt with.
    """
    if argv is not None:
        return _run(argv)
    _listen()
    code = _run(sys.argv[1:])
    _ignore_signals()
    return code


def _run(words: list[str]) -> int:
    try:
        return _end_in_order(words)
    # Also where they come while an error is being printed.
    except KeyboardInterrupt:
        say("grubenv: interrupted")
        return EXIT_INTERRUPTED
    except Terminated:
        say("grubenv: terminated")
        return EXIT_TERMINATED


def _end_in_order(words: list[str]) -> int:
    # Imported here: it takes a while, and by then signals have to be dealt with.
    from grubenv.cli.arguments import UsageError
    from grubenv.cli.commands import USAGE, perform

    try:
        open_standard_files()
        return perform(words)
    except UsageError as error:
        say(f"grubenv: error: {error} [USAGE]")
        say(f"hint: {USAGE}; `grubenv --help' says more")
        return EXIT_USAGE
    except GrubEnvError as error:
        say(f"grubenv: error: {error} [{error.code_word}]")
        if error.hint:
            say(f"hint: {error.hint}")
        return error.exit_code
    except NobodyReadsError:
        return EXIT_IO
    except (OSError, MemoryError) as error:  # of the system, such as no file descriptor being left to import a module
        say(f"grubenv: error: cannot go on: {reason(error) if isinstance(error, OSError) else 'no memory'} [IO]")
        return EXIT_IO
    except Exception as error:  # noqa: BLE001  the last resort: one line, like every other error
        say(f"grubenv: error: cannot go on: {type(error).__name__}: {error} ({_place(error)}) [INTERNAL]")
        say("hint: this is a bug in grubenv; please report it")
        return EXIT_BUG


def _place(error: Exception) -> str:
    """Return file and line where it was raised. The module traceback would have to be found and read first."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return f"{last.tb_frame.f_code.co_filename.rpartition('/')[2]}:{last.tb_lineno}" if last is not None else "unknown"


def _listen() -> None:
    """Let the first signal raise KeyboardInterrupt or Terminated, and no later one cut the cleaning up short.

    What the caller has ignored, as nohup does, stays ignored.
    """
    for number in _SIGNALS:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, _end)


def _ignore_signals() -> None:
    """Ignore them all from now on: it is done, and its exit code says so."""
    for number in _SIGNALS:
        _signal.signal(number, _signal.SIG_IGN)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    for each in _SIGNALS:
        _signal.signal(each, _do_nothing)
    raise KeyboardInterrupt if number == _signal.SIGINT else Terminated


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Take a signal that came with the first one: Python complains of one that is ignored only when it is there."""


if __name__ == "__main__":
    sys.exit(main())
