"""Where python-tuf may lie besides where Python looks: for Debian 12, which has none, nor a urllib3 that it could use.

The program of the Debian package leaves PYTHONPATH alone, as it runs as root; and other programs of the node are not to
find another urllib3 than the one of their own package.
"""

import os
import sys

DIRECTORY = "/usr/lib/manageboot/channel"


def reach() -> None:
    """Let what lies there be imported, before anything of the same name elsewhere."""
    if DIRECTORY not in sys.path and os.path.isdir(DIRECTORY):
        sys.path.insert(0, DIRECTORY)
