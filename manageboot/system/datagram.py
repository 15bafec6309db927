"""Whoever reads the datagrams of a socket, as the journal and systemd do: it may hang, and a sender would with it.

The libraries that send to them wait without limit, and hold Python's lock meanwhile, so a thread of its own would help
nobody. This looks before they send.
"""

import select

_PATIENCE_MS = 1000


class Receiver:
    """The reading end of a datagram socket, at a path."""

    def __init__(self, path: str) -> None:
        """Look at nothing yet; a path that begins with `@` is an abstract one."""
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._patience_ms = _PATIENCE_MS

    def takes_more(self) -> bool:
        """Return whether there is room for a datagram, or is soon: at most a second later, and at once after that.

        Where others send as well, the room may be gone again. Where there is no socket, or none can be made, the sender
        finds that out.
        """
        import socket

        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as probe:
                probe.connect(self._address)
                poll = select.poll()
                poll.register(probe, select.POLLOUT)
                there_is = bool(poll.poll(self._patience_ms))
        except OSError:
            return True
        self._patience_ms = _PATIENCE_MS if there_is else 0
        return there_is
