"""Compare this engine with other ways to write an update image: `python -m bench`.

It is no test: nothing fails because it is slow. What a contestant wrote is compared with the images, though.
"""

import argparse
import json
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from bench.cancel import cancel_many
from bench.command import output
from bench.contestant import Contestant
from bench.contestants import CONTESTANTS, FLOOR, OURS
from bench.figures import summarize, table
from bench.measure import ballast
from bench.payload import GIB, SHAPES, make_payload
from bench.rounds import Entrant, entrants, take_turns
from bench.targets import targets
from support.ending import listen

SCHEMA = 2


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path(".cache/bench"), help="20 GB have to fit in there")
    parser.add_argument("--image", choices=SHAPES, default="full", help="smaller ones show that it works")
    parser.add_argument("--rounds", type=int, default=5, help="each has one run of each contestant")
    parser.add_argument("--free-memory", type=int, default=4, help="GiB that each finds; more on a machine in use")
    parser.add_argument("--cached", action="store_true", help="loop devices that go through the page cache")
    parser.add_argument("--cancels", type=int, default=20, help="how many installations to interrupt")
    parser.add_argument("--only", action="append", help="the contestants whose names begin so, and the floors")
    parser.add_argument("--json", type=Path, help="where the figures go; bench.json in the directory")
    parser.add_argument("--quick", action="store_true", help="the tiny image twice, for those that are there anyway, "
                        "with caches and memory as they are: shows that it works, and measures nothing")  # fmt: skip
    if parser.parse_args().quick:
        parser.set_defaults(image="tiny", rounds=2, cancels=0)
    return parser.parse_args()


def _chosen(options: argparse.Namespace) -> list[Contestant]:
    """Return who takes part."""
    return [
        one
        for one in CONTESTANTS
        if (one.is_floor or not options.only or one.name.startswith(tuple(options.only)))
        and not (options.quick and one.version)
    ]


def _uninterrupted_s(ours: Entrant) -> float:
    started = time.monotonic()
    output(ours.command, env=os.environ, cwd=ours.work)
    return time.monotonic() - started


def main() -> int:
    options = _options()
    listen()
    directory = options.directory.absolute()
    figures_file = options.json or directory / "bench.json"
    shape = SHAPES[options.image]
    chosen = _chosen(options)
    versions = {one.name: one.version() for one in chosen if one.version}
    payload = make_payload(directory / f"payload-{shape.name}", shape)
    figures = {"schema": SCHEMA, "image": shape.name, "cached": options.cached, "versions": versions}
    with (
        targets(directory / "targets", shape, cached=options.cached) as slot,
        entrants(chosen, payload, slot, directory) as ready,
        nullcontext() if options.quick else ballast(options.free_memory * GIB),
    ):
        runs = []
        for run in take_turns(ready, options.rounds, payload, slot, cold=not options.quick):
            runs.append(run)
            # Each takes minutes; what was measured is kept.
            figures["runs"] = [{**run._asdict(), "result": run.result._asdict()} for run in runs]
            _keep(figures_file, figures)
        ours = next((one for one in ready if one.contestant.name == OURS), None)
        cancels = None
        if ours and options.cancels:
            cancels = cancel_many(ours.command, ours.work, options.cancels, _uninterrupted_s(ours))
            figures["cancels_s"] = cancels.seconds
    summary = summarize(runs, FLOOR, OURS)
    figures["contestants"] = [one.as_json() for one in summary]
    _keep(figures_file, figures)
    print(table(summary, FLOOR, OURS))
    if versions:
        print("\nVersions:", ", ".join(f"{name} {version}" for name, version in versions.items()))
    if cancels:
        print(f"\n{cancels.text}")
    return 0


def _keep(path: Path, figures: dict[str, object]) -> None:
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(json.dumps(figures, indent=1))
    os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main())
