"""What is built is complete: the wheel has each file of the packages, the source archive each of the repository."""

import fnmatch
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ALWAYS = {"MANIFEST.in", "README.md", "pyproject.toml", "setup.py"}
"""What setuptools packs by itself."""


@pytest.mark.parametrize("package", ["grubenv", "manageboot"])
def test_the_wheel_has_every_file_of_the_packages(package: str):
    packages = PROJECT["tool"]["setuptools"]["packages"]
    data = {
        f"{name.replace('.', '/')}/{pattern}"
        for name, patterns in PROJECT["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
    }
    left_out = []
    for path in sorted((ROOT / package).rglob("*")):
        name = path.relative_to(ROOT)
        # What makes the manual is needed where packages are built, and not on a node.
        if path.is_dir() or {"__pycache__", "manual"} & set(name.parts):
            continue
        is_module = path.suffix == ".py" and ".".join(name.parent.parts) in packages
        if not is_module and not any(fnmatch.fnmatchcase(str(name), pattern) for pattern in data):
            left_out.append(str(name))
    assert left_out == []


def test_the_source_archive_has_every_file_that_is_kept():
    manifest = [line.split() for line in (ROOT / "MANIFEST.in").read_text().splitlines()]
    trees = {words[1] for words in manifest if words[0] == "graft"}
    files = ALWAYS | {name for words in manifest if words[0] == "include" for name in words[1:]}
    # Without .git, as in an unpacked source archive, there is nothing to compare with but itself.
    kept = ["git", "-C", ROOT, "-c", "safe.directory=*", "ls-files"]
    names = subprocess.run(kept, check=False, capture_output=True, text=True).stdout.splitlines()
    assert {name for name in names if name.split("/")[0] not in trees} <= files
    assert all((ROOT / name).exists() for name in trees | files)
