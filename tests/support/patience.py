"""Patience with whoever looks at all disks of the machine, and so has each of them open for an instant."""

import errno
import time
from collections.abc import Callable

_LIMIT_S = 120


def once_free(action: Callable[[], object]) -> None:
    """Do what the kernel refuses as long as somebody has a device open.

    Raises:
        OSError: it was refused for another reason, or for two minutes.
    """
    deadline = time.monotonic() + _LIMIT_S
    while True:
        try:
            action()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
