"""What this process has from whoever started it, set right before anything else is done."""

import os
import sys
from contextlib import suppress


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
