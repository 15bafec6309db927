"""Loop devices that go away with their test, whatever happens in it."""

import errno
import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

_GONE_LIMIT_S = 60


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
        _wait_until_it_is_gone(path, file)


@contextmanager
def loop_devices(directory: Path, names: Iterable[str]) -> Iterator[dict[str, str]]:
    """Attach several files of a directory; give the path of each device by the name of the file."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(loop_device(directory / name)) for name in names}


def _wait_until_it_is_gone(path: str, file: Path) -> None:
    """Wait for whoever else has it open, such as a test that looks at all disks: it is detached when they close it."""
    attached = Path("/sys/block", os.path.basename(path), "loop", "backing_file")
    deadline = time.monotonic() + _GONE_LIMIT_S
    while _content(attached) == os.path.realpath(os.fsencode(file)):
        assert time.monotonic() < deadline, f"somebody still has {path} open"
        time.sleep(0.01)


def _content(attribute: Path) -> bytes | None:
    """Read what sysfs says of a device; None: it has gone, perhaps since the file was opened."""
    try:
        return attribute.read_bytes().rstrip(b"\n")
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENODEV}:
            raise
        return None
