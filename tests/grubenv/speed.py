"""How fast reading and changing are: `python -m tests.grubenv.speed`, on a loop device where there is one."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import grubenv
from tests.grubenv.blocks import SAMPLE
from tests.grubenv.disks import MIB, mount
from tests.support.loop import loop_device

ROUNDS = 200
STARTS = 15


def median_ms(act: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        act()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def measure(path: Path) -> None:
    values = iter("AB" * ROUNDS)
    query = median_ms(lambda: grubenv.query(path), ROUNDS)
    strict = median_ms(lambda: grubenv.read(path), ROUNDS)
    update = median_ms(lambda: grubenv.update(path, {"boot_alternative": next(values)}), ROUNDS)
    print(f"read {query:.3f} ms (target 1), strictly {strict:.3f} ms; update {update:.2f} ms (target 10), medians")
    environment = {**os.environ, "PYTHONPATH": str(Path(grubenv.__file__).parents[1])}

    def start(*words: str | Path) -> None:
        subprocess.run([sys.executable, *words], check=True, capture_output=True, env=environment)

    python = median_ms(lambda: start("-c", "import argparse"), STARTS)
    listing = median_ms(lambda: start("-m", "grubenv", path, "list"), STARTS)
    print(
        f"grubenv FILE list {listing:.1f} ms, python3 -c 'import argparse' {python:.1f} ms: "
        f"ratio {listing / python:.2f} (target 3)"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        directory = Path(scratch)
        if os.geteuid() == 0 and Path("/dev/loop-control").exists():
            image = directory / "disk.img"
            with image.open("wb") as file:
                file.truncate(16 * MIB)
            subprocess.run(["mke2fs", "-q", "-t", "ext4", image], check=True)
            device = stack.enter_context(loop_device(image))
            directory = stack.enter_context(mount(device, directory / "mnt"))
        else:
            print("no loop device: on the file system of the temporary directory")
        path = directory / "grubenv"
        path.write_bytes(SAMPLE)
        measure(path)


if __name__ == "__main__":
    main()
