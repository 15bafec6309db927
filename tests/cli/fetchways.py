"""Ways to the code words of the network: a server, and what the configuration says of it."""

import datetime as dt
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from cli.ways import BareNode
from support import hostile
from support.hostile import Behaviour, Hostile, answers

Words = list[str | Path]
Way = Callable[[BareNode, pytest.MonkeyPatch], AbstractContextManager[Words]]


def hurry(node: BareNode, stall_s: float = 30, more: str = "") -> None:
    """Let the node give up after one failure: it would be too late when the server may be asked again."""
    with node.config.open("a") as file:
        file.write(f"[channel]\nstall = {stall_s}\nbackoff = 1000\ndeadline = 60\n{more}")


def served(behaviour: Behaviour, stall_s: float = 30) -> Way:
    """Ask a server that behaves so."""

    @contextmanager
    def way(node: BareNode, patch: pytest.MonkeyPatch) -> Iterator[Words]:
        hurry(node, stall_s)
        with Hostile(behaviour) as server:
            yield ["inspect", f"{server.url}update-img.tar.zst"]

    return way


def nowhere(url: str) -> Way:
    """Ask where nobody is."""

    @contextmanager
    def way(node: BareNode, patch: pytest.MonkeyPatch) -> Iterator[Words]:
        hurry(node)
        yield ["inspect", url]

    return way


def shown(last_year: int, *, is_trusted: bool) -> Way:
    """Ask a server with a certificate that is good from 2020 on, until the end of a year."""

    @contextmanager
    def way(node: BareNode, patch: pytest.MonkeyPatch) -> Iterator[Words]:
        own, other = node.directory / "server.pem", node.directory / "other.pem"
        for path in (own, other):
            path.write_bytes(certificate(last_year))
        hurry(node, more=f'ca = "{own if is_trusted else other}"\n')
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own)
        with Hostile(hostile.honest, wrap=lambda line: context.wrap_socket(line, server_side=True)) as server:
            yield ["inspect", f"{server.url}update-img.tar.zst"]

    return way


def certificate(last_year: int) -> bytes:
    """Make a certificate for 127.0.0.1 that is signed by itself, and its key."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    end = dt.datetime(last_year, 12, 31, tzinfo=dt.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, end)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM) + private


@contextmanager
def no_interpreter(node: BareNode, patch: pytest.MonkeyPatch) -> Iterator[Words]:
    patch.setattr("sys.executable", "/nothing/python3")
    yield ["inspect", "http://127.0.0.1:1/update-img.tar.zst"]


FETCHES: dict[str, Way] = {
    "FETCH_BROKEN": served(answers(500)),
    "FETCH_NO_ROUTE": nowhere("http://127.0.0.1:1/update-img.tar.zst"),
    # No label of a name is as long, so no resolver is asked.
    "FETCH_NO_NAME": nowhere(f"http://{'x' * 70}.invalid/update-img.tar.zst"),
    "FETCH_TLS": shown(2100, is_trusted=False),
    "FETCH_CLOCK": shown(2021, is_trusted=True),
    "FETCH_STALLED": served(hostile.mute, 0.2),
    "FETCH_DEADLINE": served(answers(429, Retry_After=3600)),
    "FETCH_REFUSED": served(answers(403)),
    "FETCH_GONE": served(answers(404)),
    "FETCH_LIED": served(hostile.does_not_say_which),
    "NO_FETCHER": no_interpreter,
}
