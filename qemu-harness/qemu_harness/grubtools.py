"""GRUB's programs and modules of a release: the host's own where it runs that release, and unpacked ones otherwise.

Beside them is its e2fsck, since each release checks the file systems that its own mke2fs makes.
"""

from collections.abc import Mapping
from pathlib import Path

from qemu_harness.cache import Cache, content_key
from qemu_harness.debian import Release, make_root
from qemu_harness.process import run

_PACKAGES = ("grub-common", "grub-efi-amd64-bin", "grub-pc-bin", "grub-emu", "e2fsprogs")
_PLACES = ("usr/bin", "usr/sbin")
_LOADER = "usr/lib64/ld-linux-x86-64.so.2"
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/pulseaudio")

JUDGES = ("grub-editenv", "grub-emu", "grub-fstest", "grub-script-check", "e2fsck")
"""The programs that are asked what GRUB makes of blocks, scripts and disks, and a boot of file systems. None makes a
loader."""


class GrubTools:
    """GRUB as one release has it."""

    def __init__(self, root: Path) -> None:
        """Use what lies below a root; the host's is `/`."""
        self._root = root

    @classmethod
    def of(cls, cache: Cache, release: Release) -> "GrubTools":
        """Give those of a release, which are unpacked at the first time."""
        if release.is_of_the_host:
            return HOST_TOOLS
        key = content_key(release.value, *_PACKAGES, Path(__file__))

        def unpack(directory: Path) -> None:
            make_root(directory / "root", release, _PACKAGES, variant="extract")
            cls(directory / "root").write_judges()

        return cls(cache.entry("grub", key, unpack) / "root")

    @property
    def key(self) -> str:
        """What tells these from others, for the name of what is made with them."""
        return self._root.parent.name

    def command(self, program: str) -> list[str]:
        """Give the beginning of a command line, with the libraries that the program was made for.

        Args:
            program: its name, as grub-mkimage.
        """
        if self._root == Path("/"):
            return [program]
        return self._words(program, str(self._root))

    def path(self, others: str) -> str:
        """Give a PATH by which the programs that judge are these, and all others those of another PATH."""
        return others if self._root == Path("/") else f"{self._judges}:{others}"

    def write_judges(self) -> None:
        """Write a program for each that judges and starts by its loader. They may be moved together with the root."""
        self._judges.mkdir()
        for program in JUDGES:
            words = " ".join(f'"{word}"' for word in self._words(program, "$root"))
            launcher = self._judges / program
            launcher.write_text(f'#!/bin/sh\nroot="${{0%/*}}/../{self._root.name}"\nexec {words} "$@"\n')
            launcher.chmod(0o755)

    def modules(self, target: str) -> Path:
        """Give the directory of the modules for a platform, as x86_64-efi."""
        return self._root / "usr/lib/grub" / target

    @property
    def _judges(self) -> Path:
        return self._root.parent / "judges"

    def _words(self, program: str, root: str) -> list[str]:
        """Start a program by the loader of its own libraries, below a root that is called so."""
        [place] = (place for place in _PLACES if (self._root / place / program).exists())
        libraries = ":".join(f"{root}/{library}" for library in _LIBRARIES)
        return [f"{root}/{_LOADER}", "--library-path", libraries, f"{root}/{place}/{program}"]

    def make_image(self, image: Path, target: str, prefix: str, modules: tuple[str, ...]) -> None:
        """Make the image of a loader that carries modules and finds its configuration at a prefix."""
        options: list[str | Path] = ["-d", self.modules(target), "-O", target, "-p", prefix, "-o", image]
        run([*self.command("grub-mkimage"), *options, *modules])

    def make_block(self, block: Path, variables: Mapping[str, str]) -> None:
        """Make an environment block that holds variables."""
        editor = self.command("grub-editenv")
        run([*editor, block, "create"])
        if variables:
            run([*editor, block, "set", *(f"{name}={value}" for name, value in variables.items())])


HOST_TOOLS = GrubTools(Path("/"))
