"""A disk whose writes and flushes are logged: a file on a file system in user space, for a loop device to lie on."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_START_S = 10


@contextmanager
def logged(image: Path, log: Path, point: Path) -> Iterator[Path]:
    """Yield the path of a file that stands for the image, and log what is written to it."""
    point.mkdir(exist_ok=True)
    server = subprocess.Popen([sys.executable, "-m", "tests.support.fuselog", image, log, point], cwd=_ROOT)
    try:
        deadline = time.monotonic() + _START_S
        while not (point / "disk").exists():
            assert server.poll() is None, "the FUSE server ended"
            assert time.monotonic() < deadline, "the FUSE server did not start"
            time.sleep(0.02)
        try:
            yield point / "disk"
        finally:
            subprocess.run(["fusermount", "-u", point], check=True)
            server.wait(_START_S)
    finally:
        server.kill()
        server.wait()
