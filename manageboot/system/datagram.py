"""Whether the reader of a datagram socket, as the journal and systemd are, has room for one more.

It may hang, and a sender would hang with it: the libraries that send wait without limit, and hold Python's lock
meanwhile, so a thread of its own would help nobody. This looks before they send.
"""

import select

_ROOM_WAIT_MS = 1000


class DatagramSocket:
    """A datagram socket at a path, as whoever sends to it sees it."""

    def __init__(self, path: str) -> None:
        """Take the path of a socket; one that begins with `@` is abstract."""
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._wait_ms = _ROOM_WAIT_MS

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
                there_is = bool(poll.poll(self._wait_ms))
        except OSError:
            return True
        self._wait_ms = _ROOM_WAIT_MS if there_is else 0
        return there_is
