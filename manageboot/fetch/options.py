"""How to fetch, as the table `[channel]` of the configuration says."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from manageboot import errors
from manageboot.fetch.origin import origin_of

CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
"""Whom TLS trusts, if nothing else is said: the file of Debian's package ca-certificates."""
RATE_MIN = 1024
"""Bytes a second: below it, a limit of our own would look like a mirror that stalls."""

_NO_HOST = "there is no host in it, or a port that there can't be"
_PROXIES = ("http://", "https://", "socks5h://")


class Options(NamedTuple):
    """How to fetch: the same for all mirrors."""

    proxy: str | None = None
    """URL of a proxy; it may have a name and a password in it."""
    ca: str | None = None
    """File with the certificates that TLS trusts, PEM."""
    certificate: str | None = None
    """File with the client's certificate, PEM."""
    key: str | None = None
    """File with the client's private key, PEM, not encrypted; None: it is in `certificate`, too."""
    netrc: str | None = None
    """File with names and passwords for mirrors, as curl reads it."""
    rate: int | None = None
    """Bytes a second, at most."""
    stall: float = 30
    """Seconds after which a mirror that sends nothing, or next to nothing, is left alone."""
    deadline: float = 3600
    """Seconds in which a piece has to be there, whatever happens."""
    backoff: float = 1
    """Seconds before a mirror that failed is asked again; it doubles with each further failure."""


def from_mapping(table: Mapping[str, Any]) -> Options:
    """Take what is about fetching from the table `[channel]`; what else is in it belongs to others.

    Raises:
        ConfigError: a value can't be right.
    """
    values = {name: table[name] for name in Options._fields if table.get(name) is not None}
    for name, value in values.items():
        _check(name, value)
    if "key" in values and "certificate" not in values:
        raise _wrong("key", "there is no channel.certificate that it belongs to")
    return Options(**values)


def _check(name: str, value: object) -> None:
    match name:
        case "proxy":
            if not isinstance(value, str) or not value.startswith(_PROXIES) or not _is_plain(value):
                raise _wrong(name, f"it has to be a URL that begins with {', '.join(_PROXIES)}")
            if not _names_a_host(value):
                raise _wrong(name, _NO_HOST)
        case "rate":
            if not isinstance(value, int) or isinstance(value, bool) or value < RATE_MIN:
                raise _wrong(name, f"it has to be a number of bytes a second, {RATE_MIN} or more")
        case "stall" | "deadline" | "backoff":
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e9:
                raise _wrong(name, "it has to be a number of seconds, more than 0")
        case _:
            if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
                raise _wrong(name, "it has to be the whole path of a file")


def base_url(url: str) -> str:
    """Check the base URL of a mirror, and return it with a slash at its end.

    Raises:
        ConfigError: it is not one that can be fetched from.
    """
    scheme, separator, rest = url.partition("://")
    host = rest.partition("/")[0]
    if "@" in host:
        # Not shown: the password is in it.
        raise errors.ConfigError(
            f"cannot fetch from {scheme}://…@{host.rpartition('@')[2]}: there is a password in it, for all to see",
            hint="write it into a file, and name that as channel.netrc",
        )
    if scheme not in {"http", "https"} or not separator or not host or not _is_plain(url):
        raise errors.ConfigError(f"cannot fetch from {url!r}: it has to be a URL that begins with http:// or https://")
    if not _names_a_host(url):
        raise errors.ConfigError(f"cannot fetch from {url!r}: {_NO_HOST}")
    if "?" in url or "#" in url:
        raise errors.ConfigError(f"cannot fetch from {url!r}: names are put at its end, so it can't have a ? or #")
    return url if url.endswith("/") else f"{url}/"


def _names_a_host(url: str) -> bool:
    """Tell whether the host and the port of a URL can be meant; a name and a password before them may be anything."""
    scheme, _, rest = url.partition("://")
    try:
        return bool(origin_of(f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}")[1])
    except ValueError:
        return False


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url


def _wrong(name: str, cause: str) -> errors.ConfigError:
    return errors.ConfigError(f"cannot use channel.{name}: {cause}")
