"""manageboot as a user gets it: a wheel, built from a clean copy of its sources."""

import shutil
import sys
import tempfile
from pathlib import Path

from qemu_harness.cache import REPOSITORY, Cache, content_key
from qemu_harness.filesystem import EPOCH
from qemu_harness.process import run

# All that a wheel is made from. Nothing else of the repository may slip into it, least of all an old build directory.
SOURCES = ("pyproject.toml", "README.md", "grubenv", "manageboot")


def build_wheel(cache: Cache, repository: Path = REPOSITORY) -> Path:
    """Give the wheel of the repository as it is now."""
    with tempfile.TemporaryDirectory(prefix="manageboot-export.") as scratch:
        # The copy is both what gives the key and what is built: somebody may be editing the sources meanwhile.
        export = Path(scratch, "export")
        export.mkdir()
        for name in SOURCES:
            source = repository / name
            if source.is_dir():
                shutil.copytree(source, export / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, export / name)
        key = content_key(export, Path(__file__))
        [wheel] = cache.entry("wheel", key, lambda directory: _build(directory, export)).iterdir()
    return wheel


def _build(directory: Path, export: Path) -> None:
    # Without isolation pip needs no network: setuptools and wheel are those of the running Python.
    argv = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    run([*argv, "--wheel-dir", directory, export], env={"SOURCE_DATE_EPOCH": EPOCH})
