"""What a verb warns of is told on stderr as it comes, and kept for `--json`."""

import logging

from manageboot.cli import answer
from manageboot.system import console


def show() -> None:
    """Tell of all warnings from now on."""
    answer.warnings.clear()

    class Telling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            answer.warnings.append(record.getMessage())
            console.tell(self.format(record))

    logging.addLevelName(logging.WARNING, "warning")
    logging.basicConfig(format="manageboot: %(levelname)s: %(message)s", level=logging.WARNING, handlers=[Telling()])
