"""Start the command line, `python -m grubenv` and the script `grubenv`; whatever happens, it ends with one line."""

from __future__ import annotations

import sys

from grubenv import interrupts
from grubenv.errors import GrubEnvError, reason
from grubenv.output import NobodyReadsError, open_standard_files, say

EXIT_USAGE = 2
EXIT_BUG = 70
EXIT_IO = 74


def main(argv: list[str] | None = None) -> int:
    """Carry out one command line and return its exit code.

    Args:
        argv: the arguments behind the program's name; None: those of this process, whose signals are then dealt with.
    """
    if argv is not None:
        return _run(argv)
    interrupts.listen()
    code = _run(sys.argv[1:])
    interrupts.ignore()
    return code


def _run(words: list[str]) -> int:
    try:
        return _end_in_order(words)
    # Also where they come while an error is being printed.
    except KeyboardInterrupt:
        say("grubenv: interrupted")
        return interrupts.EXIT_INTERRUPTED
    except interrupts.Terminated:
        say("grubenv: terminated")
        return interrupts.EXIT_TERMINATED


def _end_in_order(words: list[str]) -> int:
    # Imported here: it takes a while, and by then signals have to be dealt with.
    from grubenv.arguments import UsageError
    from grubenv.commands import USAGE, perform

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


if __name__ == "__main__":
    sys.exit(main())
