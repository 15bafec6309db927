"""The packages that go into a node are those of the sources as they are, and of nothing else."""

import shutil
import subprocess
from pathlib import Path

import pytest

from qemu_harness.cache import REPOSITORY, Cache
from qemu_harness.packages import NAMES, SOURCES, build_packages


@pytest.mark.qemu
def test_a_changed_source_line_reaches_the_packages(empty_cache: Cache, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    for name in SOURCES:
        source = REPOSITORY / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, repository / name)
    # Left by an earlier build of somebody's.
    stale = repository / "debian" / "tmp" / "usr" / "lib" / "python3" / "dist-packages" / "manageboot" / "stale.py"
    stale.parent.mkdir(parents=True)
    stale.touch()

    first = build_packages(empty_cache, repository=repository)
    assert build_packages(empty_cache, repository=repository) == first
    assert [path.name.partition("_")[0] for path in first] == list(NAMES)
    errors = repository / "manageboot" / "errors.py"
    errors.write_text(errors.read_text() + "\nCHANGED = True\n")
    second = build_packages(empty_cache, repository=repository)

    assert second[0].parent != first[0].parent
    unpacked = tmp_path / "unpacked"
    subprocess.run(["dpkg-deb", "--extract", second[1], unpacked], check=True)
    library = unpacked / "usr" / "lib" / "python3" / "dist-packages" / "manageboot"
    assert "CHANGED = True" in (library / "errors.py").read_text()
    assert not (library / "stale.py").exists()
