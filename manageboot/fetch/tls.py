"""The clock's part in a failure of TLS: whether the certificate is, by this node's clock, not valid yet or any more."""

import re
import time
from collections.abc import Callable

import pycurl

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ISO = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)")
_OPENSSL = re.compile(r"(\w{3}) +(\d{1,2}) (\d\d:\d\d:\d\d) (\d{4})")


def contradiction(configure: Callable[[pycurl.Curl], None]) -> str | None:
    """Look at the certificates of a server, and say how the clock contradicts them; None: it does not.

    What the libraries of TLS say of a failure differs from one to the other and from release to release. So the dates
    are read in a handshake of its own, in which the server is not believed, and neither a request nor a password is
    sent.

    Args:
        configure: sets how the server is reached.
    """
    curl = pycurl.Curl()
    try:
        configure(curl)
        curl.setopt(pycurl.SSL_VERIFYPEER, 0)
        curl.setopt(pycurl.SSL_VERIFYHOST, 0)
        curl.setopt(pycurl.OPT_CERTINFO, 1)
        curl.setopt(pycurl.CONNECT_ONLY, 1)
        curl.perform()
        chain = curl.getinfo_raw(pycurl.INFO_CERTINFO)
    except pycurl.error:
        return None
    finally:
        curl.close()
    return judged(chain, time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()))


def judged(chain: list[list[tuple[bytes, bytes]]], now: str) -> str | None:
    """Say how the clock contradicts a chain of certificates; None: it does not.

    Args:
        chain: names and values of each certificate, as curl has them.
        now: what the clock says, as YYYY-MM-DD HH:MM:SS.
    """
    for certificate in chain:
        # Releases of curl do not agree on capitals.
        values = {name.lower(): value for name, value in certificate}
        start, stop = _date(values.get(b"start date", b"")), _date(values.get(b"expire date", b""))
        if start is not None and now < start:
            return f"its certificate is valid from {start[:10]} on, and the clock of this node says {now[:10]}"
        if stop is not None and now > stop:
            return f"its certificate was valid until {stop[:10]}, and the clock of this node says {now[:10]}"
    return None


def _date(raw: bytes) -> str | None:
    """Read a date as GnuTLS or OpenSSL write it; None: neither does so."""
    text = raw.decode("latin-1")
    if match := _ISO.match(text):
        return f"{match[1]} {match[2]}"
    match = _OPENSSL.match(text)
    if match is None or match[1] not in _MONTHS:
        return None
    return f"{match[4]}-{_MONTHS.index(match[1]) + 1:02}-{int(match[2]):02} {match[3]}"
