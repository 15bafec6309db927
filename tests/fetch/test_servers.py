"""Real servers, a real proxy and TLS: with the pycurl of the environment, and with Debian's own."""

import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fetch import faraway
from manageboot.fetch import failures
from manageboot.fetch.download import Download
from manageboot.fetch.fetcher import Fetcher
from manageboot.fetch.options import Options
from support import hostile, servers
from support.authority import Authority, Certificate
from support.hostile import CONTENT, PIECE, Hostile, answers, honest

pytestmark = [pytest.mark.devices, pytest.mark.long]

_DEBIANS = "/usr/bin/python3"


class Site(NamedTuple):
    """What is there to fetch from."""

    directory: Path
    authority: Authority
    certificate: Certificate
    nginx: str
    lighttpd: str
    squid: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    for program in ("nginx", "lighttpd", "squid", "openssl"):
        if not shutil.which(program):
            pytest.skip(f"not installed: {program}")
    directory = tmp_path_factory.mktemp("site")
    (directory / "root").mkdir()
    (directory / "root" / "file").write_bytes(CONTENT)
    authority = Authority(directory / "authority")
    own = authority.sign("own")
    ca = authority.certificate
    with (
        servers.nginx(directory, directory / "root", own, ca, "me:{PLAIN}secret\n") as nginx,
        servers.lighttpd(directory, directory / "root", own) as lighttpd,
        servers.squid(directory) as squid,
    ):
        yield Site(directory, authority, own, nginx, lighttpd, squid)


@pytest.fixture(params=[sys.executable, _DEBIANS], ids=["own", "Debian"], autouse=True)
def interpreter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the child run with the libcurl of the environment, and with Debian's, which has GnuTLS."""
    monkeypatch.setattr(sys, "executable", request.param)


def options(site: Site, **others: Any) -> Options:
    return Options(ca=str(site.authority.certificate), stall=20, backoff=0.001, deadline=60)._replace(**others)


def fetched(url: str, how: Options, name: str = "file") -> bytes:
    with Fetcher([url], how) as running:
        download = Download(running, name, 0, len(CONTENT))
        content = b""
        while piece := download.take(PIECE):
            content += piece
            download.accept()
        assert running.traffic()[0].bytes == len(CONTENT)
        return content


def failed(url: str, how: Options, name: str = "file") -> str:
    with pytest.raises(failures.FetchError) as caught:
        fetched(url, how._replace(deadline=20, backoff=100), name)
    return caught.value.code


def tls_server(own: Certificate, authority: Authority, seen: list[object] | None = None):
    """How a hostile server speaks TLS; it notes the certificate of whoever comes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.certificate, own.key)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(authority.certificate)

    def wrap(connection):
        line = context.wrap_socket(connection, server_side=True)
        if seen is not None:
            seen.append(line.getpeercert())
        return line

    return wrap


def test_nginx_and_lighttpd_by_tls(site: Site):
    assert fetched(site.nginx, options(site)) == CONTENT
    assert fetched(site.lighttpd, options(site)) == CONTENT
    assert (site.directory / "seen").read_text().splitlines()[-1] == "HTTP/2.0 206 /file"


def test_from_one_server_to_the_other(site: Site):
    with (
        Hostile(hostile.cut(100_000), answers(404)) as first,
        Fetcher([first.url, site.nginx, site.lighttpd], options(site)) as running,
    ):
        download = Download(running, "file", 0, len(CONTENT))
        content = b""
        while piece := download.take(PIECE):
            content += piece
            download.accept()
        assert content == CONTENT
        assert sum(traffic.bytes for traffic in running.traffic()) <= len(CONTENT) + PIECE


def test_through_a_proxy(site: Site):
    through = options(site, proxy=site.squid)
    assert fetched(site.nginx, through) == CONTENT
    with Hostile(honest) as plain:
        assert fetched(plain.url, through) == CONTENT
        assert "squid" in plain.asked[0].headers["via"]


def test_a_proxy_that_refuses_and_one_that_is_not_there(site: Site):
    name = site.nginx.replace("127.0.0.1", "localhost")
    assert failed(name, options(site, proxy=site.squid)) == "FETCH_REFUSED"
    assert failed(site.nginx, options(site, proxy="http://127.0.0.1:1")) == "FETCH_NO_ROUTE"
    assert failed(site.nginx, options(site, proxy="http://nobody.invalid:1")) == "FETCH_NO_NAME"


def test_a_password_from_netrc(site: Site):
    netrc = site.directory / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    private = f"{site.nginx}private/"
    assert failed(private, options(site)) == "FETCH_REFUSED"
    assert fetched(private, options(site, netrc=str(netrc))) == CONTENT


def test_a_certificate_of_the_client(site: Site):
    client = site.authority.sign("client")
    known = f"{site.nginx}known/"
    assert failed(known, options(site)) == "FETCH_REFUSED"
    with_it = options(site, certificate=str(client.certificate), key=str(client.key))
    assert fetched(known, with_it) == CONTENT


def test_whom_nobody_knows_is_not_believed(site: Site, tmp_path: Path):
    other = Authority(tmp_path / "other")
    assert failed(site.nginx, options(site, ca=str(other.certificate))) == "FETCH_TLS"
    assert failed(site.lighttpd, Options()) == "FETCH_TLS"
    elsewhere = site.authority.sign("elsewhere", names="DNS:elsewhere.example")
    with Hostile(honest, wrap=tls_server(elsewhere, site.authority)) as mirror:
        assert failed(mirror.url, options(site)) == "FETCH_TLS"
        assert mirror.asked == []


@pytest.mark.parametrize(
    ("start", "end"), [("21000101000000Z", "21010101000000Z"), ("19700101000000Z", "19710101000000Z")]
)
def test_a_clock_that_is_wrong_is_named(site: Site, start: str, end: str):
    own = site.authority.sign(f"of{start[:4]}", start=start, end=end)
    netrc = site.directory / "netrc"
    netrc.write_text("default login me password secret\n")
    with Hostile(honest, wrap=tls_server(own, site.authority)) as mirror:
        assert failed(mirror.url, options(site, netrc=str(netrc))) == "FETCH_CLOCK"
        # The dates were read without a request.
        assert mirror.asked == []


def test_https_never_falls_to_http(site: Site):
    with Hostile(honest) as plain:
        sends_on = answers(302, Location=f"{plain.url}file")
        with Hostile(sends_on, wrap=tls_server(site.certificate, site.authority)) as mirror:
            assert failed(mirror.url, options(site)) == "FETCH_LIED"
        assert plain.asked == []


def test_passwords_and_certificates_do_not_go_to_other_hosts(site: Site):
    netrc = site.directory / "netrc"
    netrc.write_text("default login me password secret\n")
    client = site.authority.sign("client")
    how = options(site, netrc=str(netrc), certificate=str(client.certificate), key=str(client.key))
    known: list[object] = []
    unknown: list[object] = []
    with Hostile(honest, wrap=tls_server(site.certificate, site.authority, unknown)) as other:
        location = other.url.replace("127.0.0.1", "localhost")
        sends_on = answers(302, Location=f"{location}file")
        with Hostile(sends_on, wrap=tls_server(site.certificate, site.authority, known)) as mirror:
            assert fetched(mirror.url, how) == CONTENT
        assert "authorization" in mirror.asked[0].headers
        assert "authorization" not in other.asked[0].headers
        assert known[0]
        assert not unknown[0]


def test_a_rate_is_kept():
    with Hostile(honest) as mirror:
        began_s = time.monotonic()
        assert fetched(mirror.url, Options(rate=200_000)) == CONTENT
        assert time.monotonic() - began_s > len(CONTENT) / 200_000 / 2


def test_ipv6_alone():
    with Hostile(honest, host="::1") as mirror:
        assert fetched(mirror.url, Options()) == CONTENT


def test_a_mirror_far_away_does_not_send_us_to_this_node():
    alone = 'ip link set lo up && ip address add 192.0.2.1/32 dev lo && exec "$@"'
    command = ["unshare", "--net", "sh", "-c", alone, "sh", sys.executable, faraway.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "FETCH_LIED 0\n", done.stderr
