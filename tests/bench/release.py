"""Root file systems of Debian's releases, each with the programs that its users have, and commands that run in one."""

from pathlib import Path
from typing import NamedTuple

from bench.contestant import Command
from bench.payload import run
from qemu_harness.cache import Cache, content_key
from qemu_harness.debian import Release, make_root
from qemu_harness.process import ALONE

PACKAGES = ("rauc", "squashfs-tools", "dbus", "swupdate", "cpio", "openssl")

# What it mounts is seen by nobody else and goes with its namespace, so nothing is left of a command that is killed.
# The folder has the same path inside, and a mount point of that name stays in the root: an empty folder.
_ENTER = """\
set -e
root=$1 directory=$2
shift 2
mount --rbind /dev "$root/dev"
mount -t proc none "$root/proc"
mount -t sysfs none "$root/sys"
mount -t tmpfs none "$root/run"
mount -t tmpfs none "$root/tmp"
mkdir -p "$root$directory"
mount --bind "$directory" "$root$directory"
exec chroot "$root" "$@"
"""


class Updaters(NamedTuple):
    """The updaters that a release of Debian has."""

    release: Release

    @property
    def title(self) -> str:
        """What people call the release."""
        return self.release.title

    def alone(self, directory: Path, *command: str | Path) -> Command:
        """Return the command that runs another one in the root, in namespaces of its own.

        Args:
            directory: the folder that both see, under the same path.
            command: what to run; it begins in `/`.
        """
        return enter(self.root(), directory, *command)

    def root(self) -> Path:
        """Return its root, which is built at the first time."""
        # The packages are those of the day of the build.
        key = content_key(self.release.value, *PACKAGES, Path(__file__))
        made = Cache.default().entry("debian", key, lambda place: make_root(place / "root", self.release, PACKAGES))
        return made / "root"

    def version(self, package: str) -> str:
        """Return the version of a package that is in the root."""
        return run("dpkg-query", f"--admindir={self.root()}/var/lib/dpkg", "--show", "--showformat=${Version}", package)


RELEASES = tuple(map(Updaters, Release))


def enter(root: Path, directory: Path, *command: str | Path) -> Command:
    """Return the command that runs another one in a root; see Updaters.alone."""
    return [*ALONE, "sh", "-c", _ENTER, "sh", root, directory, *command]
