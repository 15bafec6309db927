"""manageboot.sh as one file, which `make zipapp` makes: it does the same, wherever it lies."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from icos.test_program import NOBODY, processor_time
from support.blocks import environment_block
from support.images import make_update
from support.loop import run
from support.node import LoopNode

ROOT = Path(__file__).parents[2]

READ_ONLY = """\
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t tmpfs none /etc
mkdir /etc/manageboot
cp "$2" /etc/manageboot/manageboot.toml
mount --bind "$3" "$3"
mount -o remount,bind,ro "$3"
shift 3
exec "$@"
"""
"""Takes the directory of a node, its configuration, and the directory of the program, which is read-only then."""


@pytest.fixture(scope="module")
def program() -> Iterator[Path]:
    """The file, alone in a directory that every user finds."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        path = Path(directory) / "manageboot.sh"
        run("make", "-s", "-C", ROOT, "zipapp", f"ZIPAPP={path}", f"PYTHON={sys.executable}")
        yield path


def call(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], check=False, capture_output=True, text=True, timeout=120, **options)


@pytest.mark.devices
def test_an_upgrade_where_the_file_is_read_only(program: Path, node: LoopNode):
    image = make_update(node.directory / "update")
    inside = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", node.directory, node.config, program.parent, program]
    assert call(*inside, "guestos", "current").stdout == "A\n"
    for words in (["upgrade-install", image], ["upgrade-commit"], ["confirm"]):
        done = call(*inside, "guestos", *words)
        assert done.returncode == 0, done.stderr
    assert (node.block()["boot_alternative"], node.block()["boot_cycle"]) == ("B", "first_boot")
    assert node.record("B") == "committed"
    assert node.reboots.exists()


def test_nothing_of_it_is_written_anywhere(program: Path, tmp_path: Path):
    call(program, "help", cwd=tmp_path)
    assert ([*tmp_path.iterdir()], [*program.parent.iterdir()]) == ([], [program])


def test_what_lies_beside_it_is_not_run(program: Path, tmp_path: Path):
    copy = Path(shutil.copy(program, tmp_path))
    (tmp_path / "manageboot.py").write_text("print('wrong')")
    done = call(copy, "help", cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.stdout.startswith("usage: manageboot.sh ")


@pytest.mark.devices
def test_who_is_not_root_becomes_it_by_sudo(program: Path):
    """By the path that it was called by, which is the one that sudoers names."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        sudo = Path(directory) / "sudo"
        sudo.write_text('#!/bin/sh\necho "sudo $*" >&2\n')
        sudo.chmod(0o755)
        done = call(*NOBODY, program, "guestos", "confirm", env={"PATH": f"{directory}:{os.environ['PATH']}"})
    assert (done.returncode, done.stderr) == (0, f"sudo {program} guestos confirm\n")


def test_the_exit_status_is_told(program: Path):
    assert call(program, "bogus").returncode == 2


def test_another_python_takes_the_sources(program: Path, tmp_path: Path):
    """Its bytecode begins with another number."""
    other = tmp_path / "manageboot.sh"
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(other, "w") as new:
        for one in old.infolist():
            data = old.read(one)
            new.writestr(one, b"\0\0" + data[2:] if one.filename.endswith(".pyc") else data)
    (tmp_path / "grubenv").write_bytes(environment_block(boot_alternative="B"))
    done = call(sys.executable, "-I", other, "-f", tmp_path / "grubenv", "guestos", "next")
    assert (done.stdout, done.returncode) == ("B\n", 0)


def test_the_same_sources_make_the_same_file(program: Path, tmp_path: Path):
    again = tmp_path / "manageboot.sh"
    run("make", "-s", "-C", ROOT, "zipapp", f"ZIPAPP={again}", f"PYTHON={sys.executable}")
    assert again.read_bytes() == program.read_bytes()


def test_it_starts_nearly_as_fast_as_what_is_installed(program: Path, tmp_path: Path):
    """The least of many runs each, in turn."""
    root = tmp_path / "root"
    run("make", "-s", "-C", ROOT, "install-icos", f"DESTDIR={root}", f"PYTHON={sys.executable}")
    (tmp_path / "grubenv").write_bytes(environment_block(boot_alternative="B"))
    programs = [root / "opt/ic/bin/manageboot.sh", program]
    best = [float("inf")] * 2
    for _ in range(20):
        for number, one in enumerate(programs):
            best[number] = min(best[number], processor_time(one, "-f", f"{tmp_path}/grubenv", "guestos", "next"))
    assert best[1] < 1.3 * best[0], best
