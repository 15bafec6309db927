"""What the daemon logs, as the journal takes it from stderr."""

import logging
import os

from manageboot.system import console

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}


class _Formatter(logging.Formatter):
    """Begins each line with its priority where the journal listens, and with our name elsewhere."""

    def format(self, record: logging.LogRecord) -> str:
        for_journal = "JOURNAL_STREAM" in os.environ
        prefix = f"<{_PRIORITIES.get(record.levelno, 2)}>" if for_journal else "manageboot: "
        first, *more = super().format(record).splitlines() or [""]
        # What a check printed must not look like a line of the daemon's own.
        return "\n".join([prefix + first, *(f"{prefix}    {line}" for line in more)])


class _Handler(logging.Handler):
    """Writes lines to stderr as the command line does: in UTF-8, and nobody waits for a reader who hangs."""

    def emit(self, record: logging.LogRecord) -> None:
        for line in self.format(record).split("\n"):
            console.tell(line)


def begin() -> None:
    """Log from now on, what is done as well as what goes wrong."""
    handler = _Handler()
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
