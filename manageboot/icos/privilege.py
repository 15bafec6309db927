"""Root by sudo: the old program began itself anew in that way when it was not root, and its callers rely on it."""

import os
import signal
from collections.abc import Sequence

from manageboot.errors import NotPermittedError
from manageboot.system import console


def become_root(argv: Sequence[str]) -> None:
    """Return as root; or else replace this process by the same one under sudo.

    Args:
        argv: the command line of this process, with the program first.

    Raises:
        NotPermittedError: there is no sudo, or sudo was here and did not make it root.
    """
    if os.geteuid() == 0:
        return
    if _was_here(argv[0]):
        raise NotPermittedError("cannot become root: sudo ran it as the same user", hint="see what sudoers says of it")
    if console.debug:
        from manageboot.system.process import shell_line

        console.debug("run: %s", shell_line(["sudo", *argv]))
    # Python ignores it, and what is ignored stays so in the new program.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp("sudo", ["sudo", *argv])
    except OSError as error:
        raise NotPermittedError(
            f"cannot become root: sudo does not start: {error.strerror}", hint="run it as root"
        ) from error


def _was_here(program: str) -> bool:
    """Tell whether this process is what sudo made of the same user's same command: then it would do so for ever."""
    by, _, _ = os.environ.get("SUDO_COMMAND", "").partition(" ")
    return by == program and os.environ.get("SUDO_UID") == str(os.getuid())
