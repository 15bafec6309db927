"""The grub.cfg that GRUB reads on this node, beside the environment block, and the one that is shipped here."""

import difflib
import os
import shutil
from typing import NamedTuple

from manageboot import errors, lock, process
from manageboot.config import Config
from manageboot.node import observe
from manageboot.protocol import Phase, explain

FILE_NAME = "grub.cfg"
OLD_SUFFIX = ".old"
NEW_SUFFIX = ".new"

_SHIPPED_PATH = os.path.join(os.path.dirname(__file__), FILE_NAME)
_CHECKER = "grub-script-check"


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


def compare(config: Config) -> Comparison:
    """Compare the node's script with the shipped one.

    Raises:
        InputError, NotPermittedError, DeviceError: the node's can't be read.
    """
    path = path_of(config)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError as error:
        raise errors.from_os_error(error, f"read {path}", errors.InputError) from error
    lines = difflib.unified_diff(text.splitlines(), shipped().splitlines(), path, "shipped", lineterm="")
    return Comparison(path, list(lines))


def install(config: Config) -> str:
    """Put the shipped script in the place of the node's, which stays beside it as grub.cfg.old.

    It never happens by itself, and only while the booted slot is trusted: a trial goes on with the script that
    started it.

    Returns:
        What was done, in words.

    Raises:
        RefusedError: a commit is pending, a trial runs, or the two witnesses contradict each other.
        BootloaderError: GRUB's own checker does not take the script.
        BlockDamagedError, InputError: the block, or the node's script, can't be read.
        CreateError, DeviceError, LockedError, NotPermittedError.

    Durability: once it returns, the new script is on the disk. Cut before, GRUB finds the old one or the new one; on
    vfat, which has no atomic rename, a cut at that very instant can leave only grub.cfg.old and grub.cfg.new.
    """
    with lock.held(config.state.lock, "bootloader install", wait_s=config.state.lock_timeout_s):
        node = observe(config)
        if node.state.phase is not Phase.IDLE:
            kind = {Phase.PENDING: errors.CommitPendingError, Phase.TRIAL: errors.TrialError}
            refusal = kind.get(node.state.phase, errors.ConflictError)
            raise refusal(f"cannot install {FILE_NAME}: {explain(node.state)}")
        comparison = compare(config)
        if not comparison.differences:
            return f"{comparison.path} is the shipped one already"
        path = comparison.path
        try:
            shutil.copyfile(path, path + OLD_SUFFIX)
            _flush(path + OLD_SUFFIX)
            with open(path + NEW_SUFFIX, "w", encoding="utf-8") as file:
                file.write(shipped())
            _flush(path + NEW_SUFFIX)
            _check_syntax(path + NEW_SUFFIX)
            _flush(os.path.dirname(path))
            os.rename(path + NEW_SUFFIX, path)
            _flush(os.path.dirname(path))
        except OSError as error:
            raise errors.from_os_error(error, f"install {path}", errors.CreateError) from error
        return f"{path} is the shipped one, from the next boot on; the old one is {path}{OLD_SUFFIX}"


def _check_syntax(path: str) -> None:
    """Ask GRUB's own checker, where the node has it; the shipped script passed it before it was shipped."""
    if shutil.which(_CHECKER) is not None:
        process.run([_CHECKER, path], failure=errors.BootloaderError, doing=f"install {path}")


def _flush(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
