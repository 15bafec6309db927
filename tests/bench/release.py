"""Root file systems of Debian's releases, each with the programs that its users have, and commands that run in one."""

import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from bench.contestant import Command
from bench.payload import run
from qemu_harness.base import HOST_SETTINGS, UNPACKED_NEVER, host_sources
from qemu_harness.cache import Cache, content_key
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


class Release(NamedTuple):
    """A release of Debian."""

    suite: str
    title: str

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
        key = content_key(self.suite, *PACKAGES, Path(__file__))
        return Cache.default().entry("debian", key, lambda directory: _build(directory, self.suite)) / "root"

    def version(self, package: str) -> str:
        """Return the version of a package that is in the root."""
        return run("dpkg-query", f"--admindir={self.root()}/var/lib/dpkg", "--show", "--showformat=${Version}", package)


RELEASES = (Release("bookworm", "Debian 12"), Release("trixie", "Debian 13"))


def enter(root: Path, directory: Path, *command: str | Path) -> Command:
    """Return the command that runs another one in a root; see Release.alone."""
    return [*ALONE, "sh", "-c", _ENTER, "sh", root, directory, *command]


def _build(directory: Path, suite: str) -> None:
    settings = directory / "apt.conf"
    settings.write_text(run("apt-config", "dump", *HOST_SETTINGS))
    sources = directory / "sources.list"
    own = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    sources.write_text("".join(f"{line}\n" for line in sources_of(suite, own)))
    command = [*ALONE, "mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"]
    command += [f"--include={','.join(PACKAGES)}", f"--aptopt={settings}"]
    command += ["--aptopt=APT::Install-Recommends false", '--aptopt=Acquire::Languages "none"']
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in UNPACKED_NEVER]
    # Without a list it takes the archive that it knows itself.
    run(*command, suite, directory / "root", *([sources] if sources.stat().st_size else []))
    settings.unlink()
    sources.unlink()


def sources_of(suite: str, own: str, archives: Callable[[str], Iterable[str]] = host_sources) -> list[str]:
    """Return the lines of a sources.list: the host's archives of a suite, or else of its own, asked for that suite.

    Args:
        suite: which one is wanted.
        own: the suite of the host.
        archives: gives the lines that the host has for a suite.
    """
    asked = [line.replace(f" {own} ", f" {suite} ") for line in archives(own) if f" {own} " in line]
    return list(archives(suite)) or asked
