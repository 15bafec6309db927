"""Compare this engine with other ways to write an update image: `python -m bench`.

It is no test: nothing fails because it is slow. What a contestant wrote is compared with the images, though.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.cancel import Cancels, cancel_many
from bench.contestants import CONTESTANTS, Contestant
from bench.measure import Result, ballast, measure
from bench.payload import GIB, Payload, make_payload
from bench.targets import Targets, targets

OURS = "manageboot"
PACKAGES = {
    "rauc": "rauc", "mksquashfs": "squashfs-tools", "openssl": "openssl", "dbus-run-session": "dbus",
    "swupdate": "swupdate", "cpio": "cpio", "bmaptool": "bmap-tools",
}  # fmt: skip
SCHEMA = 1


def _install_packages() -> None:
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if missing:
        print(f"installing {' '.join(missing)}", file=sys.stderr)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)


def _run(
    contestant: Contestant, payload: Payload, slot: Targets, directory: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Let one take part, and return the medians of its rounds."""
    results: list[Result] = []
    differences: list[str] = []
    with tempfile.TemporaryDirectory(dir=directory) as work, tempfile.TemporaryDirectory(dir=directory) as temporary:
        command = contestant.prepare(payload, slot, Path(work))
        for number in range(options.rounds):
            print(f"{contestant.name}, round {number + 1} of {options.rounds}", file=sys.stderr)
            if not contestant.is_floor:
                slot.fill()
            results.append(measure(command, slot[:3], Path(temporary), Path(work)))
            if not contestant.is_floor:
                differences += slot.differences(payload)
    if differences and contestant.check_holes:
        raise RuntimeError(f"{contestant.name} wrote something else: {differences}")
    medians = Result(*(statistics.median(values) for values in zip(*results, strict=True)))
    walls = [round(result.wall_s, 2) for result in results]
    return {"name": contestant.name, "floor": contestant.is_floor, "identical": not differences, "walls_s": walls,
            **{key: round(value, 2) for key, value in medians._asdict().items()}}  # fmt: skip


def _cancels(payload: Payload, slot: Targets, directory: Path, options: argparse.Namespace) -> Cancels:
    """Interrupt this engine in the middle of the payload."""
    ours = next(contestant for contestant in CONTESTANTS if contestant.name == OURS)
    with tempfile.TemporaryDirectory(dir=directory) as work:
        command = ours.prepare(payload, slot, Path(work))
        started = time.monotonic()
        subprocess.run(command, check=True, cwd=work, stderr=subprocess.DEVNULL)
        return cancel_many(command, Path(work), options.cancels, time.monotonic() - started)


def _table(results: list[dict[str, Any]]) -> str:
    floor = max(result["wall_s"] for result in results if result["floor"])
    ours = next((result["wall_s"] for result in results if result["name"] == OURS), None)
    lines = [
        "| | wall s | CPU s | peak MiB | written MiB | temporary MiB | of the largest floor | of manageboot |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for result in results:
        name = result["name"] + ("" if result["identical"] else " (old data in the holes)")
        ratio = "" if ours is None else f"{result['wall_s'] / ours:.2f}"
        figures = [f"{result[key]:.0f}" for key in ("peak_mib", "written_mib", "temporary_mib")]
        cells = [
            name,
            f"{result['wall_s']:.2f}",
            f"{result['cpu_s']:.2f}",
            *figures,
            f"{result['wall_s'] / floor:.2f}",
            ratio,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path(".cache/bench"), help="18 GB have to fit in there")
    parser.add_argument("--rounds", type=int, default=3, help="of each; the medians are shown")
    parser.add_argument("--free-memory", type=int, default=4, help="GiB that each finds; more on a machine in use")
    parser.add_argument("--cached", action="store_true", help="loop devices that go through the page cache")
    parser.add_argument("--cancels", type=int, default=20, help="how many installations to interrupt")
    parser.add_argument("--only", action="append", help="the contestants whose names begin so, and the floors")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="where the figures go")
    options = parser.parse_args()
    _install_packages()
    directory = options.directory.absolute()
    payload = make_payload(directory / "payload")
    chosen = [
        one for one in CONTESTANTS if one.is_floor or not options.only or one.name.startswith(tuple(options.only))
    ]
    with targets(directory / "targets", cached=options.cached) as slot, ballast(options.free_memory * GIB):
        results: list[dict[str, Any]] = []
        for contestant in chosen:
            results.append(_run(contestant, payload, slot, directory, options))
            # Each takes minutes; what was measured is kept.
            figures = {"schema": SCHEMA, "cached": options.cached, "rounds": options.rounds, "results": results}
            options.json.write_text(json.dumps(figures, indent=1))
        cancels = _cancels(payload, slot, directory, options)
    options.json.write_text(json.dumps({**figures, "cancels_s": cancels.seconds}, indent=1))
    print(_table(results), cancels.text, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
