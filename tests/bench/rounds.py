"""All in turn: each round has one run of each, so that a machine whose speed changes changes it for all of them."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.contestant import Command, Contestant, Stage
from bench.measure import Result, measure
from bench.payload import Payload
from bench.targets import Targets
from support.ending import end_if_asked


class Run(NamedTuple):
    """One run of one contestant."""

    round: int
    """The first is 1."""
    name: str
    result: Result
    identical: bool
    """Whether the devices held the images afterwards, to the byte; of a floor always."""


class Entrant(NamedTuple):
    """A contestant that is ready to run."""

    contestant: Contestant
    command: Command
    work: Path
    temporary: Path


@contextmanager
def entrants(
    contestants: Sequence[Contestant], payload: Payload, slot: Targets, directory: Path
) -> Iterator[list[Entrant]]:
    """Let all of them make ready what they install; their folders go away afterwards."""
    with tempfile.TemporaryDirectory(prefix="entrants.", dir=directory) as folder:
        ready = []
        for number, contestant in enumerate(contestants):
            end_if_asked()
            print(f"{contestant.name} makes ready", file=sys.stderr)
            work, temporary = Path(folder, f"{number}-work"), Path(folder, f"{number}-temporary")
            work.mkdir()
            temporary.mkdir()
            command = contestant.prepare(Stage(payload, slot, work, directory))
            ready.append(Entrant(contestant, command, work, temporary))
        yield ready


def take_turns(
    ready: Sequence[Entrant], rounds: int, payload: Payload, slot: Targets, *, cold: bool = True
) -> Iterator[Run]:
    """Yield each run as soon as it is over: first all of the first round, then all of the second.

    Args:
        cold: drop the caches of the machine before each run.

    Raises:
        RuntimeError: one failed, or wrote something else than the images.
    """
    for number in range(1, rounds + 1):
        for entrant in ready:
            end_if_asked()
            name = entrant.contestant.name
            print(f"round {number} of {rounds}: {name}", file=sys.stderr)
            if not entrant.contestant.is_floor:
                slot.fill()
            result = measure(entrant.command, slot.devices, entrant.temporary, entrant.work, cold=cold)
            differences = [] if entrant.contestant.is_floor else slot.differences(payload)
            if differences and entrant.contestant.check_holes:
                raise RuntimeError(f"{name} wrote something else: {differences}")
            yield Run(number, name, result, identical=not differences)
