"""nginx, lighttpd and squid as Debian ships them, on loopback, each with a directory of its own."""

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.authority import Certificate

_START_LIMIT_S = 60

_NGINX_HEAD = """\
daemon off;
user root;
pid {directory}/nginx.pid;
error_log stderr;
events {{}}
http {{
"""
_NGINX = (
    _NGINX_HEAD
    + """\
    log_format seen '$server_protocol $status $request_uri';
    access_log {directory}/seen seen;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_client_certificate {ca};
        ssl_verify_client optional;
        root {root};
        location /private/ {{
            alias {root}/;
            auth_basic tests;
            auth_basic_user_file {directory}/users;
        }}
        location /known/ {{
            alias {root}/;
            if ($ssl_client_verify != SUCCESS) {{ return 403; }}
        }}
    }}
}}
"""
)
_PLAIN = (
    _NGINX_HEAD
    + """\
    access_log off;
    sendfile on;
    server {{
        listen 127.0.0.1:{port};
        root {root};
    }}
}}
"""
)
_LIGHTTPD = """\
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{root}"
server.modules = ("mod_openssl")
ssl.engine = "enable"
ssl.pemfile = "{certificate}"
ssl.privkey = "{key}"
"""
_SQUID = """\
http_port 127.0.0.1:{port}
pid_filename none
access_log none
cache_log stdio:/dev/null
cache_store_log none
cache deny all
acl forbidden dstdomain localhost
http_access deny forbidden
http_access allow all
shutdown_lifetime 0 seconds
netdb_filename none
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def _running(command: Sequence[str | Path], port: int) -> Iterator[None]:
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as server:
        try:
            ends_s = time.monotonic() + _START_LIMIT_S
            while True:
                assert server.poll() is None, f"{command[0]} did not start"
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    assert time.monotonic() < ends_s, f"{command[0]} does not listen"
                    time.sleep(0.05)
            yield
        finally:
            server.terminate()
            server.wait()


@contextmanager
def nginx(directory: Path, root: Path, own: Certificate, ca: Path, users: str) -> Iterator[str]:
    """Serve a directory by TLS and HTTP/2: `private/` asks for a password, `known/` for a certificate."""
    port = free_port()
    (directory / "users").write_text(users)
    text = _NGINX.format(directory=directory, root=root, port=port, certificate=own.certificate, key=own.key, ca=ca)
    (directory / "nginx.conf").write_text(text)
    with _running(["nginx", "-c", directory / "nginx.conf", "-e", "stderr"], port):
        yield f"https://127.0.0.1:{port}/"


@contextmanager
def plain_nginx(directory: Path, root: Path) -> Iterator[str]:
    """Serve a directory without TLS, so that nothing but the line is there to wait for."""
    port = free_port()
    (directory / "plain.conf").write_text(_PLAIN.format(directory=directory, root=root, port=port))
    with _running(["nginx", "-c", directory / "plain.conf", "-e", "stderr"], port):
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def lighttpd(directory: Path, root: Path, own: Certificate) -> Iterator[str]:
    """Serve a directory by TLS."""
    port = free_port()
    text = _LIGHTTPD.format(root=root, port=port, certificate=own.certificate, key=own.key)
    (directory / "lighttpd.conf").write_text(text)
    with _running(["lighttpd", "-D", "-f", directory / "lighttpd.conf"], port):
        yield f"https://127.0.0.1:{port}/"


@contextmanager
def squid(directory: Path) -> Iterator[str]:
    """Be a proxy for all names but localhost."""
    port = free_port()
    (directory / "squid.conf").write_text(_SQUID.format(port=port))
    with _running(["squid", "-N", "-f", directory / "squid.conf"], port):
        yield f"http://127.0.0.1:{port}"
