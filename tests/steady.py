"""Show that the suite is green whenever it is run: `make test-steady`.

All tests without a virtual machine, ten times in a row, then beside four busy loops and somebody who has each loop
device of the machine open now and then, then in a random order whose seed is printed. It prints a line for each run,
and exits with 1 if any was red.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUSY_LOOPS = 4
BUSY = "while True: pass"
NOSY = """
import glob, os, time
while True:
    opened = []
    for path in glob.glob("/dev/loop[0-9]*"):
        try:
            opened.append(os.open(path, os.O_RDONLY))
            os.pread(opened[-1], 1 << 16, 0)
        except OSError:
            pass  # it is gone already
    time.sleep(0.1)
    for descriptor in opened:
        os.close(descriptor)
"""
"""The kernel remembers what it read of a device until nobody has it open."""
PROCESSES = min((os.cpu_count() or 1) + 2, 4)
"""As in `make test`."""


@contextmanager
def neighbour(program: str) -> Iterator[None]:
    """Let another program run."""
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        try:
            yield
        finally:
            process.kill()


def run(name: str, *options: str) -> bool:
    """Run the suite once; return whether it was green."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not long and not qemu"]
    command += ["--dist", "loadfile", "--no-loadscope-reorder", "--numprocesses", str(PROCESSES)]
    begin_s = time.monotonic()
    done = subprocess.run(
        [*command, *options],
        check=False,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = done.stdout.splitlines() or ["it printed nothing"]
    print(f"{name:24} {time.monotonic() - begin_s:5.0f} s  {lines[-1].strip('= ')}", flush=True)
    if done.returncode != 0:
        print(done.stdout)
    return done.returncode == 0


def main() -> int:
    """Run the suite in each way; return 1 if it was red in any."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10, help="how many in a row")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of the random order")
    arguments = parser.parse_args()
    green = [run(f"run {number} of {arguments.runs}") for number in range(1, arguments.runs + 1)]
    with ExitStack() as stack:
        for program in (*[BUSY] * BUSY_LOOPS, NOSY):
            stack.enter_context(neighbour(program))
        green.append(run(f"beside {BUSY_LOOPS} busy loops"))
    order = ("--random-order-bucket", "global", "--random-order-seed", str(arguments.seed))
    green.append(run(f"random order {arguments.seed}", *order))
    return 0 if all(green) else 1


if __name__ == "__main__":
    sys.exit(main())
