"""A server on loopback that does what a mirror should not, as a script says: one fault for each request."""

import socket
import threading
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

PIECE = 64 * 1024
CONTENT = b"".join(zlib.crc32(number.to_bytes(4, "little")).to_bytes(4, "little") for number in range(100_000))
"""400,000 bytes, none of which is like those beside it."""


class Asked(NamedTuple):
    """A request, as the server read it."""

    path: str
    headers: dict[str, str]
    content: bytes
    """Of the file, as an honest server has it."""

    @property
    def start(self) -> int:
        return int(self.headers["range"].removeprefix("bytes=").partition("-")[0]) if "range" in self.headers else 0

    @property
    def stop(self) -> int:
        last = self.headers.get("range", "").partition("-")[2]
        return int(last) + 1 if last else len(self.content)


class Reply:
    """The way back to the client."""

    def __init__(self, connection: socket.socket, closing: threading.Event) -> None:
        self._connection = connection
        self.closing = closing
        self.keep = True

    def head(self, status: int, **headers: object) -> None:
        lines = [f"HTTP/1.1 {status} x", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        self.raw("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"))

    def raw(self, content: bytes) -> None:
        self._connection.sendall(content)

    def is_taken(self) -> bool:
        """Tell whether the other side, a process of this machine, has read all that was sent by IPv4."""
        ports = {f"{name[1]:04X}" for name in (self._connection.getsockname(), self._connection.getpeername())}
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, ours, theirs, _, queues, *_ = line.split()
            if {ours.partition(":")[2], theirs.partition(":")[2]} == ports and queues.strip("0") != ":":
                return False
        return True

    def part(self, asked: Asked, start: int | None = None) -> None:
        """Answer 206 with what was asked for, or from another offset on, and send nothing of it yet."""
        start = asked.start if start is None else start
        place = f"bytes {start}-{asked.stop - 1}/{len(asked.content)}"
        self.head(206, Content_Range=place, Content_Length=asked.stop - start)


Behaviour = Callable[[Reply, Asked], None]


def honest(reply: Reply, asked: Asked) -> None:
    if "range" not in asked.headers:
        reply.head(200, Content_Length=len(asked.content))
    else:
        reply.part(asked)
    reply.raw(asked.content[asked.start : asked.stop])


def cut(size: int) -> Behaviour:
    """Close in the middle."""

    def behave(reply: Reply, asked: Asked) -> None:
        reply.part(asked)
        reply.raw(asked.content[asked.start : min(asked.start + size, asked.stop)])
        reply.keep = False

    return behave


def stall(size: int) -> Behaviour:
    """Send no more after some bytes, and keep the line."""

    def behave(reply: Reply, asked: Asked) -> None:
        reply.part(asked)
        reply.raw(asked.content[asked.start : asked.start + size])
        reply.closing.wait(60)
        reply.keep = False

    return behave


def mute(reply: Reply, asked: Asked) -> None:
    """Take the request, and answer nothing."""
    reply.closing.wait(60)
    reply.keep = False


def slower(reply: Reply, asked: Asked) -> None:
    """Send each piece later than the one before."""
    reply.part(asked)
    pause_s = 0.01
    for offset in range(asked.start, asked.stop, 1000):
        reply.raw(asked.content[offset : min(offset + 1000, asked.stop)])
        if reply.closing.wait(pause_s):
            break
        pause_s *= 2
    reply.keep = False


def drips(reply: Reply, asked: Asked) -> None:
    """Send next to nothing, and just so much that it is no stall."""
    reply.part(asked)
    for offset in range(asked.start, asked.stop, 100):
        reply.raw(asked.content[offset : min(offset + 100, asked.stop)])
        if reply.closing.wait(0.02):
            break
    reply.keep = False


def no_ranges(reply: Reply, asked: Asked) -> None:
    """Send the whole file, whatever was asked for."""
    reply.head(200, Content_Length=len(asked.content))
    reply.raw(asked.content)


def endless(reply: Reply, asked: Asked) -> None:
    """Send the whole file in chunks, and then more and more."""
    reply.head(200, Transfer_Encoding="chunked")
    for offset in range(0, len(asked.content), PIECE):
        chunk = asked.content[offset : offset + PIECE]
        reply.raw(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
    while not reply.closing.wait(0.01):
        reply.raw(b"a\r\n0123456789\r\n")


def begins_early(reply: Reply, asked: Asked) -> None:
    start = max(0, asked.start - 1000)
    reply.part(asked, start)
    reply.raw(asked.content[start : asked.stop])


def begins_late(reply: Reply, asked: Asked) -> None:
    reply.part(asked, asked.start + 1000)
    reply.raw(asked.content[asked.start + 1000 : asked.stop])


def less(reply: Reply, asked: Asked) -> None:
    """Send less than was asked for, and say so."""
    stop = min(asked.start + 50_000, asked.stop)
    reply.head(
        206, Content_Range=f"bytes {asked.start}-{stop - 1}/{len(asked.content)}", Content_Length=stop - asked.start
    )
    reply.raw(asked.content[asked.start : stop])


def does_not_say_which(reply: Reply, asked: Asked) -> None:
    reply.head(206, Content_Length=asked.stop - asked.start)
    reply.raw(asked.content[asked.start : asked.stop])


def multipart(reply: Reply, asked: Asked) -> None:
    part = f"--x\r\nContent-Range: bytes {asked.start}-{asked.stop - 1}/{len(asked.content)}\r\n\r\n".encode()
    body = part + asked.content[asked.start : asked.stop] + b"\r\n--x--\r\n"
    reply.head(206, Content_Type="multipart/byteranges; boundary=x", Content_Length=len(body))
    reply.raw(body)


def says_too_much(reply: Reply, asked: Asked) -> None:
    """Announce more than there is."""
    reply.head(206, Content_Range=f"bytes {asked.start}-{asked.stop - 1}/{len(asked.content)}", Content_Length=10**9)
    reply.raw(asked.content[asked.start : asked.stop])
    reply.keep = False


def other_release(reply: Reply, asked: Asked) -> None:
    """Have a shorter file under that name."""
    if asked.start >= 1000:
        reply.head(416, Content_Range="bytes */1000", Content_Length=0)
    else:
        reply.head(206, Content_Range=f"bytes {asked.start}-999/1000", Content_Length=1000 - asked.start)
        reply.raw(asked.content[asked.start : 1000])


def longer_release(reply: Reply, asked: Asked) -> None:
    """Have a longer file under that name."""
    size = len(asked.content) + 1
    reply.head(
        206, Content_Range=f"bytes {asked.start}-{asked.stop - 1}/{size}", Content_Length=asked.stop - asked.start
    )
    reply.raw(bytes(asked.stop - asked.start))


def wrong_bytes(reply: Reply, asked: Asked) -> None:
    reply.part(asked)
    reply.raw(bytes(byte ^ 1 for byte in asked.content[asked.start : asked.stop]))


def recoded(reply: Reply, asked: Asked) -> None:
    """Compress what was not to be compressed."""
    body = zlib.compress(asked.content[asked.start : asked.stop])
    reply.head(200, Content_Encoding="deflate", Content_Length=len(body))
    reply.raw(body)


def portal(reply: Reply, asked: Asked) -> None:
    """Answer everything with the page of a captive portal."""
    page = b"<html>Welcome to the hotel! Please accept our terms.</html>"
    reply.head(200, Content_Type="text/html", Content_Length=len(page))
    reply.raw(page)


def rubbish(reply: Reply, asked: Asked) -> None:
    """Speak another protocol."""
    reply.raw(b"220 smtp.example ESMTP\r\n" * 10)
    reply.keep = False


def endless_headers(reply: Reply, asked: Asked) -> None:
    reply.raw(b"HTTP/1.1 206 x\r\n")
    while not reply.closing.is_set():
        reply.raw(b"X-More: " + b"x" * 8000 + b"\r\n")


def closes(reply: Reply, asked: Asked) -> None:
    """Answer, and close without a word."""
    honest(reply, asked)
    reply.keep = False


def answers(status: int, **headers: object) -> Behaviour:
    """Answer with a status and headers, and a page that nobody wants."""

    def behave(reply: Reply, asked: Asked) -> None:
        reply.head(status, Content_Length=5, **headers)
        reply.raw(b"sorry")

    return behave


class Hostile:
    """The server: it follows its script, whose last line holds for all further requests.

    It has one file, under each name; or those of a folder, of which its script is about one name.
    """

    def __init__(
        self,
        *script: Behaviour,
        content: bytes = CONTENT,
        folder: Path | None = None,
        about: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
        wrap: Callable[[socket.socket], socket.socket] | None = None,
    ) -> None:
        self.asked: list[Asked] = []
        self._script: Iterable[Behaviour] = script
        self._left = list(script)
        self._content = content
        self._folder = folder
        self._about = about
        self._wrap = wrap
        self._last_read: tuple[tuple[str, int, int], bytes] = (("", 0, 0), b"")
        self._closing = threading.Event()
        self._listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.connections: list[socket.socket] = []
        name = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if wrap else 'http'}://{name}:{self._listening.getsockname()[1]}/"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        # Wakes whoever waits in accept.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _accept(self) -> None:
        threads = []
        while not self._closing.is_set():
            try:
                connection = self._listening.accept()[0]
            except OSError:
                break
            threads.append(threading.Thread(target=self._serve, args=(connection,)))
            threads[-1].start()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()

    def _look(self, path: str, headers: dict[str, str]) -> tuple[Asked, Behaviour]:
        content = self._content
        if self._folder is not None:
            file = self._folder / path.lstrip("/")
            if not file.is_file():
                return Asked(path, headers, b""), answers(404)
            content = self._read(file)
        asked = Asked(path, headers, content)
        if not path.endswith(self._about):
            return asked, honest
        return asked, self._left.pop(0) if len(self._left) > 1 else self._left[0]

    def _read(self, file: Path) -> bytes:
        """Read a file, once for as long as it stays the same: some are asked for piece by piece."""
        stat = file.stat()
        known = (str(file), stat.st_mtime_ns, stat.st_size)
        last = self._last_read
        if last[0] != known:
            last = self._last_read = (known, file.read_bytes())
        return last[1]

    def _serve(self, connection: socket.socket) -> None:
        try:
            with self._wrap(connection) if self._wrap else connection as line:
                self.connections.append(line)
                reader = line.makefile("rb")
                while first := reader.readline():
                    headers = {}
                    while line_ := reader.readline().decode("latin-1").strip():
                        name, _, value = line_.partition(":")
                        headers[name.strip().lower()] = value.strip()
                    reply = Reply(line, self._closing)
                    asked, behave = self._look(first.decode("latin-1").split()[1], headers)
                    self.asked.append(asked)
                    behave(reply, asked)
                    if not reply.keep:
                        break
        except OSError:
            # The client has gone, as it may.
            pass
        finally:
            connection.close()


def asked(server: Hostile) -> dict[str, int]:
    """How many bytes were asked for of each file."""
    sizes: dict[str, int] = {}
    for one in server.asked:
        name = one.path.rpartition("/")[2]
        sizes[name] = sizes.get(name, 0) + one.stop - one.start
    return sizes
