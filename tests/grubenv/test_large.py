"""A block of any size is read and mended in a time that grows as its size does, not as the square of it."""

import time
from collections.abc import Callable

import pytest

from grubenv import SIGNATURE, EnvBlock, view
from grubenv.block import Line
from grubenv.damage.diagnosis import diagnose
from grubenv.damage.mending import made_way, mended
from grubenv.damage.salvage import Salvage, salvage


def many_lines(size: int) -> bytes:
    return SIGNATURE + b"".join(b"n%d=1\n" % number for number in range(size // 10)) + b"#"


def lines(count: int) -> Callable[[], object]:
    found = tuple(Line(b"n%d=1\n" % number, f"n{number}", "1") for number in range(count // 10))
    block = EnvBlock(count * 10, found)
    return lambda: made_way(Salvage(found, (), ()), block, ())


WORK: dict[str, Callable[[int], Callable[[], object]]] = {
    "backslashes without an end": lambda size: lambda: view.variables(SIGNATURE + b"a=" + b"\\x" * size),
    "carriage returns": lambda size: lambda: salvage(SIGNATURE + b"a=" + b"\r" * size + b"\n"),
    "hidden carriage returns": lambda size: lambda: salvage(SIGNATURE + b"a=" + b"\\\r" * size + b"\n"),
    "lines that make way": lines,
    "lines, read strictly": lambda size: lambda: EnvBlock.parse(many_lines(size)),
    "lines that are no lines": lambda size: lambda: diagnose(SIGNATURE + b"\n" * (size // 10)),
    "lines, mended": lambda size: lambda: mended(salvage(many_lines(size) + b"x"), 2 * size, {}),
}


def seconds(work: Callable[[], object]) -> float:
    """Return the least time of this process that one of a few runs took; what else the machine does is not in it."""
    taken = []
    for _ in range(3):
        before = time.process_time()
        work()
        taken.append(time.process_time() - before)
    return min(taken)


@pytest.mark.parametrize("kind", WORK)
def test_sixteen_times_as_much_takes_no_256_times_as_long(kind: str) -> None:
    small, large = (seconds(WORK[kind](size)) for size in (20_000, 320_000))
    assert large < 64 * small + 0.05


def test_the_strict_reading_takes_a_few_times_as_long_as_the_other() -> None:
    """Both go through all lines once. With a construct for each line it took twenty times as long."""
    data = many_lines(320_000)
    assert seconds(lambda: EnvBlock.parse(data)) < 10 * seconds(lambda: view.variables(data))
