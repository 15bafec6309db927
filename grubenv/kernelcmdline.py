"""What the kernel was started with, which tells the slot when the block no longer does."""

from __future__ import annotations

import shlex

from grubenv.errors import from_os_error
from grubenv.view import text

DEFAULT_PATH = "/proc/cmdline"


def read_keys(path: str = DEFAULT_PATH) -> dict[str, str]:
    """Return the KEY=VALUE words of the kernel command line in the file; of equal keys the last one counts.

    Raises:
        AbsentError, NotPermittedError, StorageError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            line = file.read()
    except OSError as exc:
        raise from_os_error(exc, "read", path) from exc
    return parse_keys(text(line))


def parse_keys(line: str) -> dict[str, str]:
    """Return the KEY=VALUE words before `--`; double quotes hold a value with spaces together.

    Source: Linux lib/cmdline.c, next_arg.

    >>> parse_keys('root=/dev/vda5 ro slot=A note="a b" slot=B')
    {'root': '/dev/vda5', 'slot': 'B', 'note': 'a b'}
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = lexer.escape = ""
    lexer.quotes = '"'
    try:
        words = list(lexer)
    except ValueError:  # a quotation mark that is never closed
        words = line.replace('"', "").split()
    keys = {}
    for word in words[: words.index("--")] if "--" in words else words:
        key, equals, value = word.partition("=")
        if equals:
            keys[key] = value
    return keys
