"""A person is at work: while the file is there, the daemon neither confirms a trial nor gives it up.

It lies in /run, beside the lock, so no boot begins with it.
"""

import os
from contextlib import suppress

from manageboot import errors
from manageboot.config import Config

_NAME = "inhibit"


def path(config: Config) -> str:
    """Return where the file is."""
    return os.path.join(os.path.dirname(config.state.lock), _NAME)


def held(config: Config) -> bool:
    """Say whether a person is at work."""
    return os.path.exists(path(config))


def hold(config: Config) -> str:
    """Make the file.

    Returns:
        What was done, in words.

    Raises:
        CreateError, NotPermittedError: it can't be made.
    """
    file = path(config)
    try:
        os.makedirs(os.path.dirname(file), mode=0o755, exist_ok=True)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    except OSError as error:
        raise errors.from_os_error(error, f"make {file}", errors.CreateError) from error
    return f"the daemon decides nothing until `manageboot confirm --release`, or a reboot: {file} is there"


def release(config: Config) -> str:
    """Remove the file.

    Returns:
        What was done, in words.

    Raises:
        CreateError, NotPermittedError: it can't be removed.
    """
    file = path(config)
    try:
        with suppress(FileNotFoundError):
            os.unlink(file)
    except OSError as error:
        raise errors.from_os_error(error, f"remove {file}", errors.CreateError) from error
    return "the daemon decides again"
