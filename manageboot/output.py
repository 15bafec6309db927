"""What a run prints: results on stdout, all else on stderr, each message one line."""

import io
import os
import re
import sys
from contextlib import suppress

from manageboot import errors

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def one_line(text: str) -> str:
    r"""Write control characters, which may come with a file name or an image, as \xNN."""
    return _CONTROL.sub(lambda character: f"\\x{ord(character[0]):02x}", text)


def tell(line: str) -> None:
    """Print a line on stderr. Nobody there to read it is no reason to call what was done a failure."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(one_line(line), file=sys.stderr, flush=True)


def answer(text: str) -> None:
    """Print a result on stdout; it may have several lines.

    Raises:
        DeviceError: nobody takes it.
    """
    lines = [one_line(line) for line in text.split("\n")]
    try:
        if sys.stdout is None:
            raise BrokenPipeError("standard output is closed")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        print(*lines, sep="\n", flush=True)
    except OSError as error:
        if sys.stdout is not None:
            # What is still buffered must not fail a second time at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise errors.from_os_error(error, "write the result", errors.DeviceError) from error
