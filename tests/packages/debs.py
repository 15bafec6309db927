"""Debian packages of the sources as they are, of an older version, and the clean roots in which they are installed."""

import os
import re
import shutil
import tempfile
from pathlib import Path

from qemu_harness import debian
from qemu_harness.cache import Cache, content_key
from qemu_harness.debian import Release, make_root
from qemu_harness.packages import build_release
from qemu_harness.process import ALONE, run

OLD_VERSION = "0.0.9"
# Where the host's package manager gets its packages, and how names are found there.
_SETTINGS = ("Acquire::http", "Acquire::https", "Acquire::Check-Date", "Acquire::Check-Valid-Until", "Acquire::Retries")
_BELOW = """\
root=$1
mount -t proc proc "$root/proc"
mount -t tmpfs none "$root/tmp"
cat "$2" >"$root/tmp/apt.conf"
shift 2
APT_CONFIG=/tmp/apt.conf exec chroot "$root" "$@"
"""


def build(release: Release, archive: Path, directory: Path) -> Path:
    """The packages, in a directory of their own."""
    build_release(Cache.default(), release, archive, directory)
    return directory


def make_older(packages: Path, directory: Path) -> Path:
    """Packages of an older version, whose agent has a module that is gone since."""
    directory.mkdir()
    for package in packages.glob("*.deb"):
        tree = directory / "tree"
        run(["dpkg-deb", "--raw-extract", package, tree])
        control = tree / "DEBIAN" / "control"
        control.write_text(re.sub(r"(Version: |\(= )[\d.]+", rf"\g<1>{OLD_VERSION}", control.read_text()))
        library = tree / "usr" / "lib" / "python3" / "dist-packages" / "manageboot"
        if library.exists():
            (library / "gone.py").touch()
        run(["dpkg-deb", "--root-owner-group", "--build", tree, directory])
        shutil.rmtree(tree)
    return directory


def root_of(release: Release, *packages: str) -> Path:
    """A root with what is essential, apt, and these packages; nobody changes it."""
    key = content_key(release.value, *packages, Path(debian.__file__))
    name = "packages-root"
    return Cache.default().entry(name, key, lambda place: make_root(place / "root", release, packages)) / "root"


def in_copy(root: Path, scratch: Path) -> Path:
    """A copy of a root, which is used up."""
    copy = scratch / "root"
    run(["cp", "-a", "--reflink=auto", root, copy])
    for name in ("resolv.conf", "hosts"):
        shutil.copy(Path("/etc", name), copy / "etc" / name)
    return copy


def run_below(root: Path, *command: str | Path) -> bytes:
    """Run a command in a root, whose package manager reaches what that of the host does, and give what it says."""
    with tempfile.NamedTemporaryFile() as settings:
        settings.write(run(["apt-config", "dump", *_SETTINGS]))
        settings.write(b'APT::Sandbox::User "root";\n')
        settings.flush()
        return run(
            [*ALONE, "sh", "-ec", _BELOW, "sh", root, settings.name, *command], env={"HOME": "/root", "TERM": "dumb"}
        )


def built_names(directory: Path) -> list[str]:
    """The names of the binary packages."""
    return sorted(os.path.basename(path).partition("_")[0] for path in directory.glob("*.deb"))
