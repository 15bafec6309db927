"""A system that lacks something: an empty file system over /proc or /sys, as in a rescue chroot."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest


def run_without(places: Sequence[str], *command: str | Path, timeout_s: int = 60) -> subprocess.CompletedProcess[str]:
    """Run a command in a mount namespace of its own, in which these directories are empty."""
    if os.geteuid() != 0:
        pytest.skip("a mount namespace needs root")
    hide = "".join(f"mount -t tmpfs none {place} && " for place in places)
    argv = ["unshare", "--mount", "sh", "-c", f'{hide}exec "$@"', "sh", *map(str, command)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout_s)
