"""Debian's releases, and root file systems of their packages, from the archives that the host itself uses."""

import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path

from qemu_harness.filesystem import EPOCH
from qemu_harness.process import ALONE, HarnessError, run

# Settings of the host's package manager that decide whether it reaches its archive. They do not stay in the root.
_HOST_SETTINGS = (
    "Acquire::http",
    "Acquire::https",
    "Acquire::Check-Date",
    "Acquire::Check-Valid-Until",
    "Acquire::Retries",
)
_UNPACKED_NEVER = (
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/share/zoneinfo/*",
)


class Release(Enum):
    """A release of Debian, by the name of its suite."""

    BOOKWORM = "bookworm"
    TRIXIE = "trixie"

    @property
    def title(self) -> str:
        """What people call it."""
        return {Release.BOOKWORM: "Debian 12", Release.TRIXIE: "Debian 13"}[self]

    @property
    def is_of_the_host(self) -> bool:
        """Whether the host runs it, so that its own programs are those of the release."""
        return _suite_of_the_host() == self.value


def chosen_release(environment: Mapping[str, str] = os.environ) -> Release:
    """Give the release that DISTRIBUTION names, or else Debian 12, the oldest that has to work.

    Raises:
        HarnessError: there is none of that name.
    """
    named = environment.get("DISTRIBUTION") or Release.BOOKWORM.value
    try:
        return Release(named)
    except ValueError as error:
        known = " and ".join(release.value for release in Release)
        raise HarnessError(f"cannot build a node of {named!r}: DISTRIBUTION may be {known}") from error


def make_root(
    root: Path, release: Release, packages: Iterable[str], *, variant: str = "minbase", overlay: Path | None = None
) -> None:
    """Make a directory with the root file system of a release.

    Args:
        root: the directory, which is made.
        release: of Debian. The packages are those of today.
        packages: what it has beside the essential ones; what these depend on, too.
        variant: mmdebstrap's; "extract" unpacks the packages and sets nothing up.
        overlay: files that have to lie there before the packages are set up.
    """
    with tempfile.TemporaryDirectory() as scratch:
        settings, sources = Path(scratch, "apt.conf"), Path(scratch, "sources.list")
        settings.write_bytes(run(["apt-config", "dump", *_HOST_SETTINGS]))
        sources.write_text(
            "".join(f"{line}\n" for line in sources_of(release.value, _suite_of_the_host(), _host_sources))
        )
        # It mounts /proc, /sys and /dev/pts below the root, and whoever removes what a killed one left goes into them.
        argv: list[str | Path] = [*ALONE, "mmdebstrap", "--mode=root", f"--variant={variant}", "--format=directory"]
        argv += [f"--include={','.join(packages)}", f"--aptopt={settings}"]
        argv += ["--aptopt=APT::Install-Recommends false", '--aptopt=Acquire::Languages "none"']
        # dpkg is told when mmdebstrap has unpacked the first packages itself: that would pass each of them through a
        # filter in Python, which takes longer than all the rest.
        excluded = "".join(rf"path-exclude={pattern}\n" for pattern in _UNPACKED_NEVER)
        argv.append(f'--extract-hook=printf "{excluded}" >"$1/etc/dpkg/dpkg.cfg.d/unpacked-never"')
        # What a power cut leaves of it is built anew; flushing each file takes nearly half of the time.
        argv.append("--dpkgopt=force-unsafe-io")
        if overlay is not None:
            argv.append(f'--essential-hook=cp -rT "{overlay}" "$1"')
        argv += [release.value, root]
        if sources.stat().st_size:
            argv.append(sources)
        run(argv, env={"SOURCE_DATE_EPOCH": EPOCH})


def sources_of(suite: str, own: str, archives: Callable[[str], Iterable[str]]) -> list[str]:
    """Give the lines of a sources.list: the host's archives of a suite, or else of its own, asked for that suite.

    Without a line mmdebstrap takes the archive that it knows itself.

    Args:
        suite: which one is wanted.
        own: the suite of the host.
        archives: gives the lines that the host has for a suite.
    """
    asked = [re.sub(rf" {own}(?=[ -])", f" {suite}", line) for line in archives(own)] if own else []
    return list(archives(suite)) or asked


def _host_sources(suite: str) -> Iterator[str]:
    """Yield the lines of a sources.list with the host's own archives of a suite, updates and security included."""
    fields = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    targets = run(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"]).decode()
    for line in sorted(set(targets.splitlines())):
        _, release, _ = line.split()
        if release in (suite, f"{suite}-updates", f"{suite}-security"):
            yield f"deb {line}"


def _suite_of_the_host() -> str:
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "")
