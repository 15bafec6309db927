"""A person is at work: while the file is there, the daemon is inhibited, and neither confirms a trial nor aborts it.

It lies in /run, beside the lock, so no boot begins with it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from manageboot import errors
from manageboot.config import Config
from manageboot.system import console

_NAME = "inhibit"


def path(config: Config) -> str:
    """Return where the file is."""
    return os.path.join(config.state.runtime_directory, _NAME)


def active(config: Config) -> bool:
    """Say whether the daemon is inhibited."""
    # Whatever it is that lies there, somebody put it there.
    return os.path.lexists(path(config))


def take(config: Config) -> str:
    """Make the file.

    Returns:
        What was done, in words.

    Raises:
        CreateError, NotPermittedError: it can't be made.
    """
    file = path(config)
    with _translated(f"make {file}"):
        os.makedirs(config.state.runtime_directory, mode=0o755, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
            if console.debug:
                console.debug("make %s", file)
    return f"the daemon is paused until `manageboot confirm --release`, or a reboot: {file} is there"


def release(config: Config) -> str:
    """Remove the file.

    Returns:
        What was done, in words.

    Raises:
        CreateError, NotPermittedError: it can't be removed.
    """
    file = path(config)
    with _translated(f"remove {file}"), suppress(FileNotFoundError):
        os.unlink(file)
        if console.debug:
            console.debug("remove %s", file)
    return "the daemon goes on"


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Raise the errors of the system as this program's."""
    try:
        yield
    except OSError as error:
        raise errors.from_os_error(error, doing, errors.CreateError) from error
