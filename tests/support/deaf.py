"""A datagram socket whose reader does not read."""

import socket


def fill(address: str) -> None:
    """Send to a socket until it takes no more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        sender.connect(address)
        try:
            while True:
                sender.send(b"x")
        except BlockingIOError:
            pass


def drain(listener: socket.socket) -> None:
    """Read all that is there."""
    try:
        while True:
            listener.recv(100, socket.MSG_DONTWAIT)
    except BlockingIOError:
        pass
