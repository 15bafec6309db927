"""manageboot.sh as a program: as it is installed, and how it becomes root."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from grubenv.commit import release
from support.blocks import environment_block
from support.loop import run

ROOT = Path(__file__).parents[2]
NOBODY = [str(shutil.which("setpriv")), "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture(scope="module")
def public() -> Iterator[Path]:
    """A directory that every user finds; each run of pytest closes the one in which its tests have theirs."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


@pytest.fixture(scope="module")
def installed(public: Path) -> Path:
    """The root of a node, with what `make install-icos` puts there."""
    root = public / "root"
    run("make", "-s", "-C", ROOT, "install-icos", f"DESTDIR={root}", f"PYTHON={sys.executable}")
    return root


def call(program: Path | str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [str(program), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, **options)


def test_it_is_one_command_and_runs_from_there(installed: Path):
    assert call(installed / "opt/ic/bin/manageboot.sh", "help").stdout.startswith("usage: manageboot.sh ")
    assert call(installed / "usr/bin/manageboot", "--version").stdout == f"manageboot {release()}\n"
    assert call(installed / "usr/bin/grubenv", "--version").stdout == f"grubenv {release()}\n"
    for name in (
        "system/manageboot.service",
        "system/manageboot-update.service",
        "system/manageboot-update.timer",
        "system-preset/90-manageboot.preset",
        "catalog/manageboot.catalog",
        "../tmpfiles.d/manageboot.conf",
    ):
        assert (installed / "usr/lib/systemd" / name).is_file(), name


def test_it_runs_what_was_installed_and_nothing_from_beside_it(installed: Path, tmp_path: Path):
    code = "import sys, manageboot; print(manageboot.__file__)"
    launcher = (
        (installed / "opt/ic/bin/manageboot.sh")
        .read_text()
        .replace("from manageboot.icos", f"{code}; from manageboot.icos")
    )
    (installed / "opt/ic/bin/which").write_text(launcher)
    (installed / "opt/ic/bin/which").chmod(0o755)
    (tmp_path / "manageboot.py").write_text("print('wrong')")
    done = call(installed / "opt/ic/bin/which", "help", cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert os.path.samefile(done.stdout.splitlines()[0], installed / "usr/share/manageboot/manageboot/__init__.py")


def test_the_bytecode_is_there_and_is_used(installed: Path):
    library = installed / "usr/share/manageboot"
    sources = set(library.rglob("*.py"))
    assert {path.parent.parent / f"{path.name.split('.')[0]}.py" for path in library.rglob("*.pyc")} == sources
    # Those who build images set all times to one; the bytecode has to stay good.
    before = {path: path.stat().st_mtime_ns for path in library.rglob("*.pyc")}
    for path in sources:
        os.utime(path, (1, 1))
    call(installed / "opt/ic/bin/manageboot.sh", "guestos", "current")
    assert {path: path.stat().st_mtime_ns for path in library.rglob("*.pyc")} == before


def test_a_node_publishes_nothing(installed: Path):
    assert not (installed / "usr/share/manageboot/manageboot/publish").exists()
    done = call(installed / "usr/bin/manageboot", "release", "keys", "key")
    assert (done.returncode, done.stdout) == (66, "")
    assert done.stderr.startswith("manageboot: error: cannot run release keys: ")


def test_installing_again_leaves_nothing_of_the_old_version(installed: Path):
    (installed / "usr/share/manageboot/manageboot/gone.py").touch()
    run("make", "-s", "-C", ROOT, "install-icos", f"DESTDIR={installed}", f"PYTHON={sys.executable}")
    assert not (installed / "usr/share/manageboot/manageboot/gone.py").exists()


@pytest.fixture
def sudo(public: Path) -> dict[str, str]:
    """An environment whose sudo writes down how it was called, and does what the variable SUDO_DOES says."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    program = Path(tempfile.mkdtemp(dir=public)) / "sudo"
    program.parent.chmod(0o755)
    program.write_text('#!/bin/sh\necho "sudo $*" >&2\neval "$SUDO_DOES"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "SUDO_DOES": "exit 0"}


def as_nobody(installed: Path, sudo: dict[str, str], *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    program = installed / "opt/ic/bin/manageboot.sh"
    return call(NOBODY[0], *NOBODY[1:], str(program), *arguments, env={**sudo, **more})


@pytest.mark.devices
@pytest.mark.parametrize("arguments", [["guestos", "confirm"], ["-f", "a b", "hostos", "target"], ["upgrade-commit"]])
def test_who_is_not_root_becomes_it_by_sudo(installed: Path, sudo: dict[str, str], arguments: list[str]):
    done = as_nobody(installed, sudo, *arguments)
    program = installed / "opt/ic/bin/manageboot.sh"
    assert (done.returncode, done.stderr) == (0, f"sudo {program} {' '.join(arguments)}\n")


@pytest.mark.devices
def test_the_exit_status_is_that_of_sudo(installed: Path, sudo: dict[str, str]):
    assert as_nobody(installed, sudo, "confirm", SUDO_DOES="exit 1").returncode == 1


@pytest.mark.devices
def test_a_sudo_that_does_not_make_it_root_is_not_asked_twice(installed: Path, sudo: dict[str, str]):
    does = 'SUDO_COMMAND="$*" SUDO_UID=65534 exec "$@"'
    done = as_nobody(installed, sudo, "guestos", "confirm", SUDO_DOES=does)
    assert done.returncode == 77
    assert done.stderr.count("sudo ") == 2  # once called, once named in the message
    assert "error: cannot become root: sudo ran it as the same user [NOT_PERMITTED]" in done.stderr


@pytest.mark.devices
def test_within_a_shell_of_sudo_it_is_asked(installed: Path, sudo: dict[str, str]):
    done = as_nobody(installed, sudo, "confirm", SUDO_COMMAND="/bin/bash", SUDO_UID="65534")
    assert (done.returncode, done.stderr.count("sudo ")) == (0, 1)


@pytest.mark.devices
def test_where_there_is_no_sudo_it_says_so(installed: Path, sudo: dict[str, str]):
    done = as_nobody(installed, sudo, "confirm", PATH=str(installed / "opt"))
    assert (done.returncode, done.stdout) == (77, "")
    assert done.stderr.startswith("manageboot: error: cannot become root: sudo does not start: No such file")


def test_nobody_may_choose_the_configuration(installed: Path):
    """Whoever may call it by sudo would choose the command that reboots, too."""
    program = installed / "opt/ic/bin/manageboot.sh"
    option = ["-c", "x"]
    disk = ["--disk", "x"]
    for arguments in (
        [*option, "confirm"],
        ["guestos", *option, "confirm"],
        ["upgrade-commit", *option],
        ["upgrade-commit", "--config=x"],
        [*disk, "upgrade-install", "x"],
        ["upgrade-install", "x", *disk],
    ):
        done = call(program, *arguments)
        assert (done.returncode, "[USAGE]" in done.stderr) == (2, True), arguments


def processor_time(program: Path, *arguments: str) -> float:
    """Run a program, and return the seconds that a processor was busy with it; those of others do not count."""
    child = os.fork()
    if not child:
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        os.execv(program, [str(program), *arguments])
    _, status, usage = os.wait4(child, 0)
    assert status == 0
    return usage.ru_utime + usage.ru_stime


def test_it_starts_as_fast_as_manageboot(installed: Path, tmp_path: Path):
    """The least of many runs each, in turn."""
    (tmp_path / "grubenv").write_bytes(environment_block(boot_alternative="B"))
    programs = [installed / "usr/bin/manageboot", installed / "opt/ic/bin/manageboot.sh"]
    best = [float("inf")] * 2
    for _ in range(20):
        for number, program in enumerate(programs):
            best[number] = min(best[number], processor_time(program, "-f", f"{tmp_path}/grubenv", "guestos", "next"))
    assert best[1] < 1.15 * best[0], best
