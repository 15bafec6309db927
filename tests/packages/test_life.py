"""The Debian packages as an administrator gets to know them, on a clean Debian 12 and 13: from first to last."""

import fnmatch
import shutil
from pathlib import Path

import pytest

import manageboot
from grubenv.commit import commit
from packages import debs
from qemu_harness.debian import Release
from qemu_harness.packages import NAMES, source_archive
from qemu_harness.process import run

pytestmark = [pytest.mark.long, pytest.mark.devices]

SCRIPT = Path(__file__).with_name("apt.sh")
MADE_BY_OTHERS = (
    *("/var/lib/dpkg/*", "/var/lib/apt/*", "/var/cache/*", "/var/log/*", "/boot/grub", "/boot/grub/grubenv"),
    # dpkg removes it with the last package that has files there.
    "/opt",
    # Python's own package, and the linker's.
    *("/etc/python3*", "/usr/lib/python3*", "/usr/share/python3*", "/var/lib/python*", "/etc/ld.so.cache"),
)
"""What the package manager keeps, what the test puts there, and what other packages leave when they are purged."""
ITS_STATE = {
    "/etc/manageboot", "/etc/manageboot/manageboot.toml", "/etc/systemd/system/sysinit.target.wants/manageboot.service",
    "/var/lib/manageboot", "/var/lib/manageboot/slot-a.json",
    "/var/lib/systemd/deb-systemd-helper-enabled/manageboot.service.dsh-also",
    "/var/lib/systemd/deb-systemd-helper-enabled/manageboot-update.timer.dsh-also",
}  # fmt: skip
"""What a removal leaves for those who install it again."""


@pytest.fixture(scope="module", params=Release, ids=lambda release: release.value)
def release(request: pytest.FixtureRequest) -> Release:
    return request.param


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source_archive(tmp_path_factory.mktemp("dist") / "dist")


@pytest.fixture(scope="module")
def built(release: Release, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return debs.build(release, archive, tmp_path_factory.mktemp("built") / "new")


def test_they_are_the_same_when_they_are_built_again(release: Release, archive: Path, built: Path, tmp_path: Path):
    assert debs.built_names(built) == sorted(NAMES)
    again = debs.build(release, archive, tmp_path / "again")
    for package in built.glob("*.deb"):
        assert (again / package.name).read_bytes() == package.read_bytes(), package.name


def test_lintian_finds_nothing(release: Release, built: Path, tmp_path: Path):
    """Not even a trifle; what is meant as it is stands in debian/*.lintian-overrides, with the reason.

    One source for both releases goes by the policy of the older one, which is out of date for the newer.
    """
    root = debs.in_copy(debs.root_of(release, "lintian"), tmp_path)
    shutil.copytree(built, root / "packages")
    options = "--allow-root --pedantic --display-info --fail-on none --suppress-tags out-of-date-standards-version"
    found = debs.run_below(root, "sh", "-c", f"lintian {options} /packages/*.changes")
    assert found.decode() == ""


def test_a_life_from_the_installation_to_the_purge(release: Release, built: Path, tmp_path: Path):
    root = debs.in_copy(debs.root_of(release, "apt"), tmp_path)
    shutil.copytree(built, root / "packages" / "new")
    debs.make_older(built, root / "packages" / "old")
    debs.run_below(root, "sh", "-c", SCRIPT.read_text())
    said = {path.name: path.read_text() for path in (root / "said").iterdir()}

    version = f"{manageboot.__version__} ({commit()})"
    assert said["list"] == "boot_alternative=A\nboot_cycle=stable\nexit status 0\n"
    assert "manageboot" not in said["apt-grubenv"]
    assert "gone.py" in said["old"] and "gone.py" not in said["new"]
    assert said["version"] == f"manageboot {version}\nexit status 0\n"
    assert said["version-grubenv"] == f"grubenv {version}\nexit status 0\n"
    assert said["icos"].startswith("usage: manageboot.sh ")
    # There are no slots. It says so in a line or two, and not as a bug of its own.
    for name in ("status", "doctor"):
        assert "Traceback" not in said[name] and "[INTERNAL]" not in said[name], said[name]
        assert len(said[name].splitlines()) <= 8, said[name]
    assert said["enabled"] == ""

    before, removed, after = (set(said[name].splitlines()) for name in ("before", "removed", "after"))
    assert {path for path in removed - before if "manageboot" in path and not expected(path)} == ITS_STATE
    assert {path for path in after ^ before if not expected(path)} == set()
    assert not [path for path in after if "manageboot" in path and not path.startswith("/var/lib/apt/")]
    assert said["boot-after"] == said["boot-before"]


def expected(path: str) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in MADE_BY_OTHERS)


def test_the_service_goes_where_the_release_has_it(release: Release, built: Path):
    [package] = built.glob("manageboot_*.deb")
    names = run(["dpkg-deb", "--contents", package]).decode()
    place = {Release.BOOKWORM: "./lib/systemd/system/", Release.TRIXIE: "./usr/lib/systemd/system/"}[release]
    for unit in ("manageboot.service", "manageboot-update.service", "manageboot-update.timer"):
        assert f" {place}{unit}\n" in names
