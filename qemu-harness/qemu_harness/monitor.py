"""QEMU's monitor, over QMP."""

import asyncio
import logging
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qemu.qmp import QMPClient, QMPError

from qemu_harness.process import HarnessError

ANSWER_DEADLINE_S = 10.0
# What goes wrong arrives as an exception too, and some of it is expected while QEMU starts.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class Monitor:
    """A connection to a running QEMU."""

    def __init__(self, socket: Path) -> None:
        """Connect to QEMU.

        Raises:
            HarnessError: nobody answers at the socket.
        """
        # The library is asynchronous and everything here is not, so its event loop runs only while it is asked.
        self._runner = asyncio.Runner()
        self._client = QMPClient("node")
        try:
            self._runner.run(asyncio.wait_for(self._client.connect(str(socket)), ANSWER_DEADLINE_S))
        except (QMPError, OSError, TimeoutError) as error:
            self._runner.close()
            raise HarnessError(f"cannot connect to QEMU's monitor at {socket}: {error}") from error

    def __enter__(self) -> Self:
        """Use the connection as a context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection, also when QEMU is gone."""
        self.close()

    def execute(self, command: str, **arguments: object) -> Any:
        """Run a command of QMP and give what it returns."""
        request = self._client.execute(command, arguments)
        try:
            return self._runner.run(asyncio.wait_for(request, ANSWER_DEADLINE_S))
        except TimeoutError as error:
            raise HarnessError(f"no answer to {command} within {ANSWER_DEADLINE_S:.0f} s") from error
        except QMPError as error:
            raise HarnessError(f"cannot {command} over QEMU's monitor: {error}") from error

    def status(self) -> str:
        """Give the state of the machine: running, paused, internal-error and so on."""
        return str(self.execute("query-status")["status"])

    def tell(self, line: str) -> str:
        """Give what the monitor for people answers to a line; QMP has no command for where the processors stand."""
        return str(self.execute("human-monitor-command", **{"command-line": line}))

    def close(self) -> None:
        """Close the connection."""
        try:
            self._runner.run(self._client.disconnect())
        except (QMPError, OSError, EOFError):
            pass  # QEMU ended first
        finally:
            self._runner.close()
