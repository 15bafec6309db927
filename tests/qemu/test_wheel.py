"""The wheel that goes into a node is that of the sources as they are, and of nothing else."""

import shutil
import zipfile
from pathlib import Path

from qemu_harness.cache import REPOSITORY, Cache
from qemu_harness.wheel import SOURCES, build_wheel


def test_a_changed_source_line_reaches_the_wheel(empty_cache: Cache, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    for name in SOURCES:
        source = REPOSITORY / name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, repository / name)
    # Left by an earlier build of somebody's; setuptools would take files from it.
    (repository / "build" / "lib" / "manageboot").mkdir(parents=True)
    (repository / "build" / "lib" / "manageboot" / "stale.py").touch()

    first = build_wheel(empty_cache, repository)
    assert build_wheel(empty_cache, repository) == first
    errors = repository / "manageboot" / "errors.py"
    errors.write_text(errors.read_text() + "\nCHANGED = True\n")
    second = build_wheel(empty_cache, repository)

    assert second.parent != first.parent
    with zipfile.ZipFile(second) as wheel:
        assert b"CHANGED = True" in wheel.read("manageboot/errors.py")
        assert "manageboot/bootloader/grub.cfg" in wheel.namelist()
        assert "manageboot/stale.py" not in wheel.namelist()
