"""Wheel and source archive: the same for the same sources, and each can be built from what is in the other."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from grubenv.commit import commit

ROOT = Path(__file__).parents[2]
EPOCH = "1700000000"

pytestmark = pytest.mark.long


def make_dist(directory: Path, umask: int) -> dict[str, Path]:
    """Both files, by the end of their names."""
    subprocess.run(
        ["make", "-s", "-C", ROOT, "dist", f"DIST={directory}"],
        check=True, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH}, umask=umask, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return {path.suffix: path for path in directory.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_dist(tmp_path_factory.mktemp("dist") / "first", 0o022)


def test_it_is_the_same_again_whatever_the_builder_is_like(built: dict[str, Path], tmp_path: Path):
    again = make_dist(tmp_path / "again", 0o077)
    assert again.keys() == built.keys() == {".whl", ".gz"}
    assert {name: path.read_bytes() for name, path in again.items()} == {
        name: path.read_bytes() for name, path in built.items()
    }


def test_the_wheel_has_the_packages_and_nothing_else(built: dict[str, Path]):
    with zipfile.ZipFile(built[".whl"]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert f'COMMIT = "{commit()}"' in wheel.read("grubenv/commit.py").decode()
    files = {path for package in ("grubenv", "manageboot") for path in (ROOT / package).rglob("*") if path.is_file()}
    assert names == {
        str(path.relative_to(ROOT)) for path in files if not {"__pycache__", "manual"}.intersection(path.parts)
    }


def test_the_source_archive_is_the_checkout(built: dict[str, Path], tmp_path: Path):
    subprocess.run(["tar", "--extract", f"--directory={tmp_path}", f"--file={built['.gz']}"], check=True)
    [tree] = tmp_path.iterdir()
    for name in subprocess.run(
        ["git", "-C", ROOT, "ls-files"], check=True, capture_output=True, text=True
    ).stdout.splitlines():
        assert (tree / name).is_symlink() == (ROOT / name).is_symlink(), name
        assert os.access(tree / name, os.X_OK) == os.access(ROOT / name, os.X_OK), name
        if name != "grubenv/commit.py":
            assert (tree / name).read_bytes() == (ROOT / name).read_bytes(), name
    # And it builds the same wheel, where there is no git to ask.
    wheels = tmp_path / "wheels"
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [*pip, "--wheel-dir", wheels, tree], check=True, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH}, umask=0o022
    )
    shutil.rmtree(tree)
    [wheel] = wheels.iterdir()
    assert wheel.read_bytes() == built[".whl"].read_bytes()
