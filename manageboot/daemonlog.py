"""What the daemon logs, as the journal takes it from stderr."""

import logging
import os

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}


class _Formatter(logging.Formatter):
    """Begins each line with its priority where the journal listens, and with our name elsewhere."""

    def format(self, record: logging.LogRecord) -> str:
        for_journal = "JOURNAL_STREAM" in os.environ
        prefix = f"<{_PRIORITIES.get(record.levelno, 2)}>" if for_journal else "manageboot: "
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def begin() -> None:
    """Log from now on, what is done as well as what goes wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
