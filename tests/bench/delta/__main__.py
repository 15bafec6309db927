"""Compare the ways by which a new image comes to a node that has the old one: `python -m bench.delta`.

It is no test: nothing fails because it is slow. What a way wrote is compared with the image, though.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.delta.pairs import PAIRS, Images, make_pair
from bench.delta.table import Run, table
from bench.delta.ways import ARCHIVE, FLOOR, FULL, WAYS, Stage, Way, publish
from bench.delta.web import served
from bench.measure import measure
from bench.targets import difference, fill
from support.ending import end_if_asked, listen
from support.loop import loop_device

SCHEMA = 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.delta", description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path(".cache/bench"), help="pairs and releases stay in there")
    parser.add_argument("--pair", choices=PAIRS, default="base", help="tiny shows that it works")
    parser.add_argument("--rounds", type=int, default=5, help="each has one run of each way, at full speed")
    parser.add_argument("--slow-rounds", type=int, default=1, help="the same, through a slow line")
    parser.add_argument("--mbit", type=float, default=20, help="what the slow line brings, in Mbit/s")
    parser.add_argument("--level", type=int, default=19, help="of zstd, for the frames of the releases")
    parser.add_argument("--only", action="append", help="the ways whose names begin so")
    parser.add_argument("--warm", action="store_true", help="leave the caches of the machine as they are")
    return parser.parse_args()


def main() -> int:
    options = _options()
    listen()
    directory = options.directory.absolute()
    pair = PAIRS[options.pair]
    images = make_pair(directory / f"pair-{pair.name}", pair)
    www = directory / f"published-{pair.name}-{options.level}"
    www.mkdir(parents=True, exist_ok=True)
    chosen = _chosen(options.only)
    lines = {
        "at full speed": (None, options.rounds),
        f"at {options.mbit:g} Mbit/s": (_rate(options), options.slow_rounds),
    }
    figures: dict[str, object] = {"schema": SCHEMA, "pair": pair.name, "level": options.level}
    with _staged(images, www, options.level) as stage:
        for way in chosen:
            end_if_asked()
            print(f"{way.name} publishes", file=sys.stderr)
            publish(way, stage)
        for line, (rate, rounds) in lines.items():
            runs: list[Run] = []
            for run in _take_turns(chosen, stage, line, rate, rounds, cold=not options.warm):
                runs.append(run)
                figures[line] = [one._asdict() for one in runs]
                (directory / f"delta-{pair.name}.json").write_text(json.dumps(figures, indent=1))
            if runs:
                print(f"\n{pair.name}, {line}:\n\n{table(runs, FULL, ARCHIVE)}")
    return 0


def _rate(options: argparse.Namespace) -> int:
    return int(options.mbit * 1_000_000 / 8)


def _chosen(only: Sequence[str] | None) -> list[Way]:
    """Return who takes part, and tell who does not."""
    wanted = [way for way in WAYS if not only or way.name.startswith(tuple(only))]
    for way in wanted:
        if not shutil.which(way.program):
            print(f"{way.name} takes no part: {way.program} is not installed", file=sys.stderr)
    return [way for way in wanted if shutil.which(way.program)]


@contextmanager
def _staged(images: Images, www: Path, level: int) -> Iterator[Stage]:
    """Make the devices, and the folders that go away afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="delta.", dir=www.parent) as folder,
        tempfile.TemporaryDirectory(prefix="manageboot-bench.", dir="/run") as runtime,
    ):
        target = Path(folder, "target")
        with target.open("wb") as file:
            file.truncate(images.new.stat().st_size)
        fill(target)
        with loop_device(images.old, cached=False) as old, loop_device(target, cached=False) as new:
            yield Stage(images, www, level, old, new, Path(folder), Path(runtime))


def _take_turns(
    ways: Sequence[Way], stage: Stage, line: str, rate: int | None, rounds: int, *, cold: bool
) -> Iterator[Run]:
    """Give each run as soon as it is over: first all of the first round, then all of the second.

    Raises:
        RuntimeError: one failed, or wrote something else than the image.
    """
    for number in range(1, rounds + 1):
        for way in ways:
            if rate is not None and way.name == FLOOR:
                continue
            # What it fetches is the same each time, and on each line.
            if way.in_guest and (rate is not None or number > 1):
                continue
            end_if_asked()
            print(f"{line}, round {number} of {rounds}: {way.name}", file=sys.stderr)
            fill(stage.work / "target")
            yield _run(way, stage, number, rate, cold=cold)


def _run(way: Way, stage: Stage, number: int, rate: int | None, *, cold: bool) -> Run:
    folders = [stage.work / name for name in ("server", "temporary", "work")]
    runtime = stage.runtime / "run"
    for folder in (*folders, runtime):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    server, temporary, work = folders
    with served(stage.www, server, rate) as web:
        command = way.command(stage._replace(work=work, runtime=runtime), f"{web.url}{way.folder}/")
        result = measure(command, [stage.new], temporary, work, cold=cold)
    if way.name != FLOOR and (at := difference(stage.images.new, stage.new)) is not None:
        raise RuntimeError(f"{way.name} wrote something else at {at}")
    requests = web.requests
    took = (result.wall_s, result.cpu_s, result.peak_mib, result.temporary_mib)
    return Run(number, way.name, *((None,) * 4 if way.in_guest else took), sum(requests), len(requests))


if __name__ == "__main__":
    sys.exit(main())
