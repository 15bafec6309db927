"""What this process has from whoever started it, set right before anything else is done.

A limit on memory stays as it is: whoever sets one means it, and what does not fit in it is an error of its own.
"""

import os
import signal
import sys
from contextlib import suppress

_UMASK = 0o022
"""Queries need no root: what is written for them can be read by all, and what is not has a mode of its own."""
_LEAST_FILES = 256


def speak_utf8() -> None:
    """Begin the program anew in Python's UTF-8 mode, where the locale has another encoding; the process stays the same.

    Configuration, devices and images are named in UTF-8. In another encoding Python would look for other names, or for
    none at all, and there is no way to change that in a program that runs.
    """
    if sys.getfilesystemencoding() == "utf-8" or not sys.executable:
        return
    # Where that is not to be had, names in ASCII still work.
    with suppress(OSError):
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def set_right() -> None:
    """Take back what a caller left that would fail us or those whom we start.

    Standard files that are closed, signals that are blocked, children that nobody may wait for, a umask, and soft
    limits on files, their size, processes and time.
    """
    _open_standard_files()
    # Ignored, the end of a child could not be waited for: it would seem to have never started.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.umask(_UMASK)
    _raise_limits()
    # Last: one that waits for this comes now.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _open_standard_files() -> None:
    """Take the place of a closed stdin, stdout or stderr, lest a device or the lock be opened there."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is this one. Without a /dev, a directory can neither be read nor written.
            try:
                os.open(os.devnull, os.O_RDWR)
            except OSError:
                os.open("/", os.O_RDONLY | os.O_DIRECTORY)


def _raise_limits() -> None:
    import resource

    # More files than that are of no use, and some programs close as many as there may be.
    wanted = {resource.RLIMIT_NOFILE: _LEAST_FILES}
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CPU, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE):
        soft, hard = resource.getrlimit(limit)
        most = min(wanted.get(limit, hard), hard, key=_as_number)
        # A sandbox, that of the service too, may not allow it; then there is no such limit, or it is meant.
        with suppress(OSError, ValueError):
            if _as_number(soft) < _as_number(most):
                resource.setrlimit(limit, (most, hard))


def _as_number(limit: int) -> float:
    """Give a limit its place in the order: no limit, which is negative, is the highest."""
    return float("inf") if limit < 0 else limit
