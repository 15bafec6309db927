"""Commands that the benchmark runs: none outlives it, and none keeps it from ending when it is asked to."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from support.ending import end_if_asked

_POLL_S = 0.05


@contextmanager
def started(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command in a process group of its own, which is killed where nobody waits for its end."""
    with subprocess.Popen(command, process_group=0, **options) as running:
        try:
            yield running
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            raise


def output(command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path | None = None) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        RuntimeError: it failed.
        SystemExit: the benchmark was asked to end; the command was killed.
    """
    with started(command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        while True:
            try:
                said, complained = running.communicate(timeout=_POLL_S)
            except subprocess.TimeoutExpired:
                end_if_asked()
            else:
                break
    if running.returncode:
        raise RuntimeError(
            f"{command[0]} exited with {running.returncode}: {complained.decode(errors='replace').strip()}"
        )
    return said.decode()
