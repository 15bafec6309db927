"""Interrupt installations at random instants, and time how long each takes to end."""

import random
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from bench.contestant import Command
from support.ending import end_if_asked

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
_SEED = 7


class Cancels(NamedTuple):
    """How long installations took to end, from the signal to the exit, in seconds; shortest first."""

    seconds: list[float]

    @property
    def text(self) -> str:
        """For people."""
        middle, longest = self.seconds[len(self.seconds) // 2], self.seconds[-1]
        return (
            f"{len(self.seconds)} cancels: median {middle:.2f} s, longest {longest:.2f} s from the signal to the exit"
        )


def cancel_many(command: Command, cwd: Path, count: int, duration_s: float) -> Cancels:
    """Start so many installations and interrupt each, by SIGINT and SIGTERM in turn.

    Args:
        command: an installation.
        cwd: where it runs.
        count: how many.
        duration_s: what an undisturbed one takes.

    Raises:
        RuntimeError: one ended in another way than an interrupted one has to.
    """
    dice = random.Random(_SEED)
    seconds = []
    while len(seconds) < count:
        end_if_asked()
        number = (signal.SIGINT, signal.SIGTERM)[len(seconds) % 2]
        with subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
            assert run.stderr is not None
            time.sleep(dice.uniform(0.3, duration_s))
            if run.poll() is not None:
                continue
            sent = time.monotonic()
            run.send_signal(number)
            said = run.stderr.read()
            run.wait()
            seconds.append(time.monotonic() - sent)
        if run.returncode == 0:
            # It was past the point of no return.
            seconds.pop()
        elif run.returncode != EXIT_CODES[number]:
            raise RuntimeError(f"{command} exited with {run.returncode}: {said.decode(errors='replace')[-2000:]}")
    return Cancels(sorted(seconds))
