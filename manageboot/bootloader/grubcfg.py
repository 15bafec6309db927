"""The grub.cfg that GRUB reads on this node, beside the environment block, and the one that is shipped here."""

import difflib
import logging
import os
import shutil
import tempfile
from typing import NamedTuple

from grubenv.writing.lock import locked_directory
from grubenv.writing.replace import replace_file
from manageboot import errors
from manageboot.boot import envblock
from manageboot.bootloader import modules
from manageboot.config import Config
from manageboot.protocol import Verb
from manageboot.system import files, process
from manageboot.upgrade.begin import begun

logger = logging.getLogger(__name__)

FILE_NAME = "grub.cfg"
OLD_SUFFIX = ".old"

MODULES_HINT = "copy them from /usr/lib/grub, of GRUB's own version, or run grub-install"

_SHIPPED_PATH = os.path.join(os.path.dirname(__file__), FILE_NAME)
_CHECKER = "grub-script-check"
_LIMIT_BYTES = 16 << 20
"""Far beyond what any script has."""
_WAIT_S = 10.0
"""For a writer of the block, which is done in milliseconds."""


class Comparison(NamedTuple):
    """The node's script beside the shipped one."""

    path: str
    differences: list[str]
    """Lines of a unified diff from the node's to the shipped one; none: they are the same."""


def shipped() -> str:
    """Return the shipped script."""
    with open(_SHIPPED_PATH, encoding="utf-8") as file:
        return file.read()


def path_of(config: Config) -> str:
    """Return where the node's script is: GRUB has its prefix where the block is."""
    return os.path.join(config.boot.directory, FILE_NAME)


def read(path: str) -> bytes | None:
    """Read a script; None: there is none.

    Raises:
        InputError, NotPermittedError, DeviceError: it can't be read, or is no file.
    """
    try:
        return files.read(path, _LIMIT_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise errors.from_os_error(error, f"read {path}", errors.InputError) from error
    except ValueError as error:
        raise errors.InputError(f"cannot read {path}: {error}") from error


def compare(config: Config) -> Comparison:
    """Compare the node's script with the shipped one.

    Raises:
        InputError, NotPermittedError, DeviceError: the node's can't be read.
    """
    path = path_of(config)
    script = read(path)
    if script is None:
        raise errors.InputError(f"cannot read {path}: it is not there")
    lines = difflib.unified_diff(
        script.decode("utf-8", "replace").splitlines(), shipped().splitlines(), path, "shipped", lineterm=""
    )
    return Comparison(path, list(lines))


def missing_modules(directory: str, wanted: tuple[str, ...]) -> list[str]:
    """Name the files of modules that GRUB would not find; none where they are built in.

    Args:
        directory: where GRUB has its prefix.
        wanted: of which modules.

    Raises:
        InputError, NotPermittedError, DeviceError: their directories can't be read.
    """
    try:
        return modules.missing(directory, wanted)
    except OSError as error:
        raise errors.from_os_error(error, f"read {directory}", errors.InputError) from error


def check_modules(config: Config, verb: str) -> None:
    """Make sure that GRUB finds the modules that the shipped script needs; warn of those that it can do without.

    Args:
        config: the settings.
        verb: what they are needed for.

    Raises:
        GrubModulesError: some are missing.
        InputError, NotPermittedError, DeviceError: their directories can't be read.
    """
    volumes = any(spec.startswith("LV=") for slot in config.slots.values() for spec in slot.values())
    if lost := missing_modules(config.boot.directory, modules.NEEDED + (("lvm",) if volumes else ())):
        raise errors.GrubModulesError(f"cannot {verb}: there is no {', '.join(lost)}", hint=MODULES_HINT)
    for path in missing_modules(config.boot.directory, modules.USED):
        logger.warning("there is no %s; the script works without it, and can do less", path)


def install(config: Config) -> str:
    """Put the shipped script in the place of the node's, which stays beside it as grub.cfg.old.

    It never happens by itself, and only while the booted slot is trusted.

    Returns:
        What was done, in words.

    Raises:
        RefusedError: a commit is pending, a trial runs, or kernel command line and block contradict each other.
        BootloaderError: GRUB's own checker does not take the script.
        GrubModulesError: modules that it needs are missing.
        BlockDamagedError, InputError: the block, or the node's script, can't be read.
        CreateError, DeviceError, LockedError, NotPermittedError.

    Durability: once it returns, the new script is where GRUB finds it, which replays no journal. Cut before, GRUB finds
    the old one or the new one, on vfat too.
    """
    with begun(config, Verb.BOOTLOADER_INSTALL) as (node, _):
        if not node.by_grub:
            logger.warning("no GRUB started this node; while none does, %s changes nothing", path_of(config))
        comparison = compare(config)
        if not comparison.differences:
            return f"{comparison.path} is the shipped one already"
        path = comparison.path
        check_modules(config, f"install {path}")
        put(path, shipped())
        return f"{path} is the shipped one, from the next boot on; the old one is {path}{OLD_SUFFIX}"


def put(path: str, script: str) -> None:
    """Put a script in the place of another one, which stays beside it with the suffix .old; there may be none.

    Args:
        path: the script, in a directory that is there.
        script: what it is to be.

    Raises:
        BootloaderError: GRUB's own checker does not take the script.
        InputError: the old one can't be read.
        CreateError: there is no room for it, or for the temporary file that the checker is given.
        DeviceError, LockedError, NotPermittedError.

    Durability: as for `install`.
    """
    _check_syntax(path, script)
    old = read(path)
    name = os.path.basename(path)
    with envblock.translated(), locked_directory(os.path.dirname(path), _WAIT_S, path) as directory:
        # Both files are replaced as a new block is, which was proved against GRUB.
        if old is not None:
            replace_file(directory, name + OLD_SUFFIX, old, path + OLD_SUFFIX)
        replace_file(directory, name, script.encode(), path)


def _check_syntax(path: str, script: str) -> None:
    """Ask the node's GRUB, where it has a checker; what is shipped passed ours before it was shipped."""
    if shutil.which(_CHECKER, path=process.search_path()) is None:
        return
    try:
        with tempfile.NamedTemporaryFile(suffix=FILE_NAME) as file:
            file.write(script.encode())
            file.flush()
            process.run([_CHECKER, file.name], failure=errors.BootloaderError, doing=f"install {path}")
    except OSError as error:
        raise errors.from_os_error(
            error, f"check {path} out of a temporary file", errors.CreateError, hint="TMPDIR names its directory"
        ) from error
