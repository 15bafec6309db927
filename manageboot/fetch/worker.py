"""The child: it is told how to fetch, locks itself in, and then fetches what it is asked for until its pipe is closed.

Whatever happens to it, its parent notices, and starts another one.
"""

import base64
import json
import os
from typing import Any

from manageboot.fetch import wire
from manageboot.fetch.wire import Kind, Request

REQUESTS, ANSWERS = 0, 1
"""The descriptors of the two pipes."""


class _ParentGoneError(Exception):
    """The parent has closed the pipe."""


def main() -> None:
    """Be the child."""
    try:
        serve()
    except (_ParentGoneError, BrokenPipeError, KeyboardInterrupt):
        # Not the way of Python, which would look for modules and flush what is closed.
        os._exit(0)


def serve() -> None:
    """Take the setup, lock this process in, and answer requests."""
    try:
        setup = json.loads(_receive(Kind.SETUP))
        transfer = _prepare(setup)
    except (OSError, ImportError, MemoryError) as error:
        cause = f"{error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
        wire.send(ANSWERS, Kind.UNFIT, cause.encode()[: wire.ANSWER_MAX])
        return
    wire.send(ANSWERS, Kind.READY)
    while True:
        request = Request.unpack(_receive(Kind.REQUEST))
        wire.send(ANSWERS, Kind.END, transfer.perform(request).pack())


def _prepare(setup: dict[str, Any]) -> Any:
    """Load all that will be needed, then lock this process in, and return what fetches."""
    # Imported here: a library that is missing is told to the parent. And nothing can be loaded later.
    from manageboot.fetch import jail
    from manageboot.fetch.options import Options
    from manageboot.fetch.transfer import Transfer

    transfer = Transfer(Options(**setup["options"]), REQUESTS, ANSWERS)
    files = {path: (base64.b64decode(content), secret) for path, (content, secret) in setup["files"].items()}
    jail.close(files)
    return transfer


def _receive(expected: Kind) -> bytes:
    """Wait for a frame of the parent, which never sends two at once, and return its body."""
    frames = wire.Frames(frozenset({expected}), wire.SETUP_MAX)
    while (frame := frames.next()) is None:
        if not (content := os.read(REQUESTS, 65536)):
            raise _ParentGoneError
        frames.feed(content)
    return frame[1]
