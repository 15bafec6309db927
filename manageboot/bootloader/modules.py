"""The modules of GRUB that the shipped script needs, and whether they lie where GRUB looks for them.

For GRUB a command that it does not know is one that worked, so a module that is missing is no error at boot. The script
is made for that; but without some of them no trial is ever started, and without `linux` nothing is.
"""

import os

NEEDED = ("part_gpt", "fat", "ext2", "loadenv", "test", "linux", "boot", "configfile")
"""Without one of these the node starts no trial, or does not boot."""

USED = ("lvm", "regexp", "echo", "keystatus", "reboot", "minicmd")
"""Without one of these the script has another way; without lvm it finds no slots in a volume group."""

_SUFFIX = ".mod"
_COMMANDS = "command.lst"
"""Tells GRUB which module has a command."""


def missing(directory: str, wanted: tuple[str, ...]) -> list[str]:
    """Name the files of modules that GRUB would not find.

    Where there are none at all, or no list of commands, by which GRUB finds them, what the node boots with is built
    into GRUB's image, and nothing can be said: the few modules that lie there are for whoever loads them by name.

    Args:
        directory: where GRUB has its prefix; the modules are in a directory below, one for each platform.
        wanted: the names of the modules.

    Returns:
        Their paths.

    Raises:
        OSError: a directory can't be read.
    """
    return [
        os.path.join(directory, platform, f"{name}{_SUFFIX}")
        for platform, there in _platforms(directory)
        for name in wanted
        if f"{name}{_SUFFIX}" not in there
    ]


def _platforms(directory: str) -> list[tuple[str, set[str]]]:
    """List what is in each directory with modules: i386-pc, x86_64-efi and so on."""
    with os.scandir(directory) as found:
        names = sorted(entry.name for entry in found if "-" in entry.name and entry.is_dir())
    listed = [(name, set(os.listdir(os.path.join(directory, name)))) for name in names]
    return [
        (name, files) for name, files in listed if _COMMANDS in files and any(file.endswith(_SUFFIX) for file in files)
    ]
