"""manageboot as a user gets it: Debian packages, built from a clean copy of its sources."""

import shutil
import sys
import tempfile
from pathlib import Path

from qemu_harness import debian
from qemu_harness.cache import REPOSITORY, Cache, content_key
from qemu_harness.debian import Release, chosen_release, make_root
from qemu_harness.process import OWN_MOUNTS, run

NAMES = ("python3-grubenv", "manageboot", "manageboot-icos")
# All that they are made from, but their documents, which no node has. Nothing else of the repository may slip into
# them, least of all what an old build has left.
SOURCES = ("Makefile", "debian", "grubenv", "manageboot", "systemd-units")
_LEFT_BY_A_BUILD = (".debhelper", "*.debhelper", "*.debhelper.log", "*.substvars", "files", "tmp", "*-stamp", *NAMES)
# What builds them, in the root of a release that the host does not run.
_BUILDERS = ("debhelper", "dh-python", "dpkg-dev", "python3")
_BELOW = """\
root=$2
mount --bind "$1" "$root/mnt"
mount -t proc proc "$root/proc"
shift 2
exec chroot "$root" sh -c 'cd "/mnt/$0" && exec "$@"' "$@"
"""
_WITHOUT_DOCUMENTS = {"DEB_BUILD_OPTIONS": "nodoc", "DPKG_DEB_COMPRESSOR_TYPE": "none"}


def build_packages(cache: Cache, release: Release = Release.BOOKWORM, repository: Path = REPOSITORY) -> list[Path]:
    """Give the packages of the repository as it is now, without their documents."""
    with tempfile.TemporaryDirectory(prefix="manageboot-export.") as scratch:
        # The copy is both what gives the key and what is built: somebody may be editing the sources meanwhile.
        export = Path(scratch, "build", "manageboot")
        export.mkdir(parents=True)
        for name in SOURCES:
            _copy(repository / name, export / name)
        key = content_key(release.value, export, Path(__file__), Path(debian.__file__))

        def build(directory: Path) -> None:
            _run_in(cache, release, export, ["debian/rules", "binary"], _WITHOUT_DOCUMENTS)
            _move(export.parent, directory, "*.deb")

        directory = cache.entry("packages", key, build)
    # One after the other, each has what it depends on.
    return [next(directory.glob(f"{name}_*.deb")) for name in NAMES]


def source_archive(directory: Path) -> Path:
    """Give manageboot-VERSION.tar.gz of the repository as it is now, which `make dist` makes in a directory."""
    run(["make", "-s", "-C", REPOSITORY, "dist", f"DIST={directory}"])
    [archive] = directory.glob("*.tar.gz")
    return archive


def build_release(cache: Cache, release: Release, archive: Path, directory: Path) -> None:
    """Build the packages, and their source package, from a source archive that `make dist` has made.

    Args:
        release: of Debian; it is told by the version, so that an upgrade of Debian is one of these as well.
        archive: manageboot-VERSION.tar.gz.
        directory: where they go.
    """
    with tempfile.TemporaryDirectory(prefix="manageboot-build.") as scratch:
        run(["tar", "--extract", f"--directory={scratch}", f"--file={archive}"])
        [export] = Path(scratch).iterdir()
        changelog = export / "debian" / "changelog"
        first, rest = changelog.read_text().split("\n", 1)
        numbered = first.replace(")", f"~{release.title.lower().replace('debian ', 'deb')})", 1)
        changelog.write_text(f"{numbered.replace('unstable', release.value)}\n{rest}")
        _run_in(cache, release, export, ["dpkg-buildpackage", "--build=full", "--no-sign", "--no-check-builddeps"], {})
        directory.mkdir(parents=True, exist_ok=True)
        _move(export.parent, directory, "*")


def _run_in(cache: Cache, release: Release, export: Path, command: list[str], environment: dict[str, str]) -> None:
    """Run a command in the directory of the sources, with the programs of a release; it writes beside them, too."""
    # What this was started by may be make itself, whose options are not meant for debian/rules.
    command = ["env", "--unset=MAKEFLAGS", "--unset=MAKELEVEL", *command]
    if release.is_of_the_host:
        run(command, cwd=export, env=environment)
        return
    key = content_key(release.value, *_BUILDERS, Path(debian.__file__))
    root = cache.entry("builders", key, lambda directory: make_root(directory / "root", release, _BUILDERS)) / "root"
    run([*OWN_MOUNTS, "sh", "-ec", _BELOW, "sh", export.parent, root, export.name, *command], env=environment)


def _copy(source: Path, copy: Path) -> None:
    if source.is_dir():
        ignored = _LEFT_BY_A_BUILD if source.name == "debian" else ()
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", *ignored))
    else:
        shutil.copy(source, copy)


def _move(source: Path, directory: Path, pattern: str) -> None:
    for path in source.glob(pattern):
        if path.is_file():
            shutil.move(path, directory / path.name)


def main() -> None:
    """Build the packages for the release that DISTRIBUTION names, from a source archive into a directory."""
    archive, directory = map(Path, sys.argv[1:])
    build_release(Cache.default(), chosen_release(), archive, directory)


if __name__ == "__main__":
    main()
