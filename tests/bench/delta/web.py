"""A real server on loopback, and the line to it: what went through is counted by the server."""

import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NGINX = """\
daemon off;
master_process off;
pid {work}/nginx.pid;
error_log {work}/errors;
events {{ worker_connections 256; }}
http {{
    log_format sent '$bytes_sent';
    access_log {work}/sent sent;
    sendfile on;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port};
        root {www};
    }}
}}
"""
_START_LIMIT_S = 60
_PIECE_BYTES = 16 << 10


class Web:
    """The server; what it says of its traffic is whole once it has ended."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        """Ends in a slash."""
        self._log = log

    @property
    def requests(self) -> list[int]:
        """How many bytes were sent in answer to each request, headers included."""
        return [int(line) for line in self._log.read_text().split()]


@contextmanager
def served(www: Path, work: Path, rate: int | None) -> Iterator[Web]:
    """Serve a folder by nginx.

    Args:
        www: the folder.
        work: where files of the server go.
        rate: how many bytes a second come through the line, all connections together; None: as many as may.
    """
    port = _free_port()
    (work / "sent").unlink(missing_ok=True)
    (work / "nginx.conf").write_text(_NGINX.format(www=www, work=work, port=port))
    errors = work / "errors"
    command = ["nginx", "-c", work / "nginx.conf", "-e", errors]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(server, port, errors)
            if rate is None:
                yield Web(f"http://127.0.0.1:{port}/", work / "sent")
            else:
                with _Line(port, rate) as line:
                    yield Web(f"http://127.0.0.1:{line.server_address[1]}/", work / "sent")
            server.send_signal(subprocess.signal.SIGQUIT)  # it answers to the end first
            with suppress(subprocess.TimeoutExpired):
                server.wait(_START_LIMIT_S)
        finally:
            server.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _wait_for(server: subprocess.Popen[bytes], port: int, errors: Path) -> None:
    limit_s = time.monotonic() + _START_LIMIT_S
    while True:
        if server.poll() is not None:
            raise RuntimeError(f"nginx did not start: {errors.read_text(errors='replace')}")
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        if time.monotonic() > limit_s:
            raise RuntimeError("nginx does not listen")
        time.sleep(0.02)


class _Line(socketserver.ThreadingTCPServer):
    """Passes connections on, and lets so much through: a limit of the server's is one for each connection."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, target: int, rate: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = target
        self._rate = rate
        self._free_s = 0.0
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def wait(self, size: int) -> None:
        """Wait until so many bytes may go on."""
        with self._lock:
            now_s = time.monotonic()
            self._free_s = max(self._free_s, now_s) + size / self._rate
            wait_s = self._free_s - now_s
        time.sleep(wait_s)

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Connection(socketserver.BaseRequestHandler):
    server: _Line
    request: socket.socket

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.target)) as there:
            back = threading.Thread(target=self._answer, args=(there,))
            back.start()
            _pass(self.request, there)
            back.join()

    def _answer(self, there: socket.socket) -> None:
        _pass(there, self.request, self.server)


def _pass(source: socket.socket, target: socket.socket, line: _Line | None = None) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            if line is not None:
                line.wait(len(piece))
            target.sendall(piece)
    # Whichever side ends, the other one learns of it.
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
