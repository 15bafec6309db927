"""`status --watch`: the page again and again while another run is at work, until that has ended."""

import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from manageboot.config import Config
from manageboot.report import page, status
from manageboot.system import console, terminal

_INTERVAL_S = 0.5
_LINE_INTERVAL_S = 2.0
"""Of the lines for whoever can't draw over a page."""

_STDIN = 0
_OTHER_SCREEN, _OWN_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_TOP, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def watch(config: Config) -> None:
    """Show how far a running installation is, until it has ended; then print the page once. Writes nothing.

    On a terminal, q or Ctrl-C ends it earlier; the installation goes on. In a pipe it prints a line every two seconds.

    Raises:
        As `status.collect`, and DeviceError: nobody takes what is printed.
    """
    shown = status.collect(config)
    if shown["running"]:
        follow = _draw if terminal.screen().terminal else _tell
        try:
            shown = follow(config, shown)
        except KeyboardInterrupt:
            shown = status.collect(config)
        if shown["running"]:
            console.tell("manageboot: the watch has ended; what it watched goes on")
    screen = terminal.screen()
    console.answer(page.render(shown, screen), painted=True)


def _tell(config: Config, shown: dict[str, Any]) -> dict[str, Any]:
    """Print a line for each thing that is new."""
    last = ""
    while shown["running"]:
        line = f"{shown['running']}{page.how_far(shown['progress'])}"
        if line != last:
            console.answer(line)
        last = line
        time.sleep(_LINE_INTERVAL_S)
        shown = status.collect(config)
    return shown


def _draw(config: Config, shown: dict[str, Any]) -> dict[str, Any]:
    """Draw the page over the one before."""
    with _keys() as keys:
        while shown["running"]:
            screen = terminal.screen()
            # Whatever the page has more than the terminal would scroll away what is above.
            lines = page.render(shown, screen).split("\n")[: max(1, screen.lines - 2)]
            last = screen.paint("q ends this, and nothing else", terminal.DIM)
            # A line is emptied before it is written: behind one of full width, that would take its last character.
            whole = "".join(f"{_REST_OF_LINE}{line}\r\n" for line in lines)
            console.answer(f"{_TOP}{whole}{_REST_OF_SCREEN}{last}", painted=True)
            if _asked_to_end(keys):
                break
            shown = status.collect(config)
    return shown


def _asked_to_end(keys: bool) -> bool:
    """Wait until the next look, and tell whether q was pressed."""
    if not keys:
        time.sleep(_INTERVAL_S)
        return False
    ready, _, _ = select.select([_STDIN], [], [], _INTERVAL_S)
    if not ready:
        return False
    pressed = os.read(_STDIN, 64)
    # Nothing to read though it is ready: the terminal is gone.
    return not pressed or b"q" in pressed


@contextmanager
def _keys() -> Iterator[bool]:
    """Take single keys, and draw on the terminal's other screen, for the time of a with block; both are put back."""
    import termios

    try:
        before = termios.tcgetattr(_STDIN)
    except (OSError, termios.error):
        before = None
    try:
        if before is not None:
            changed = [*before]
            changed[3] = before[3] & ~(termios.ICANON | termios.ECHO)
            termios.tcsetattr(_STDIN, termios.TCSANOW, changed)
        sys.stdout.write(_OTHER_SCREEN)
        yield before is not None
    finally:
        with suppress(OSError):
            sys.stdout.write(_OWN_SCREEN)
            sys.stdout.flush()
        if before is not None:
            with suppress(OSError, termios.error):
                termios.tcsetattr(_STDIN, termios.TCSANOW, before)
