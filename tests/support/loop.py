"""Loop devices that go away with their test, whatever happens in it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def run(*command: str | Path) -> str:
    """Run a command of the machine, and show all that it said when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{command} exited with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


@contextmanager
def loop_device(
    file: Path, *, sector_size: int = 512, offset: int = 0, size: int = 0, cached: bool = True
) -> Iterator[str]:
    """Attach a file, or `size` bytes of it from an offset on, to a free loop device.

    Its number is asked of the kernel, so others may do the same. With cached=False it reads and writes the
    file past the page cache.
    """
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    cache = f"--direct-io={'off' if cached else 'on'}"
    part = [f"--offset={offset}", f"--sizelimit={size}"] if size else []
    path = run("losetup", "--find", "--show", "--sector-size", str(sector_size), cache, *part, file)
    try:
        yield path
    finally:
        run("losetup", "--detach", path)
