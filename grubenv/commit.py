"""Which commit of the sources this is: what is built carries it, and a checkout is asked for its own."""

from __future__ import annotations

import os

COMMIT = ""
"""The line that a build replaces in its copy: the commit, or `unknown`."""


def release() -> str:
    """Return the version, and the commit where it is known: `0.1.0 (cbf29fd)`."""
    from grubenv import __version__

    known = commit()
    return f"{__version__} ({known})" if known != "unknown" else __version__


def commit() -> str:
    """Return the commit, with `-dirty` behind it if the checkout differs from it; or `unknown`."""
    if COMMIT:
        return COMMIT
    checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not os.path.exists(os.path.join(checkout, ".git")):
        return "unknown"
    import subprocess

    # Root may build what belongs to another.
    command = ["git", "-c", "safe.directory=*", "-C", checkout, "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
