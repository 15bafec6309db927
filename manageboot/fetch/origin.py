"""Where a URL leads, and where a server may send us."""

from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_LOCAL = ("127.", "0.", "169.254.", "::1", "fe80:", "fe90:", "fea0:", "feb0:", "::ffff:")


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port: what has to be the same for a name and a password to be sent."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def is_local(address: str) -> bool:
    """Tell whether only this node, or only its own link, can reach an IP address."""
    return address == "::" or address.startswith(_LOCAL)


def why_not_follow(here: str, there: str) -> str | None:
    """Return why a redirect is not followed; None: it is.

    Args:
        here: the URL that was asked for.
        there: the whole URL that the server names.
    """
    try:
        there.encode("ascii")
        scheme, host, _ = origin_of(there)
    except ValueError:
        return "it sends us to a URL that can't be read"
    if scheme not in _PORTS or not host:
        return f"it sends us to {scheme or 'no'} URL"
    if scheme == "http" and origin_of(here)[0] == "https":
        return f"it sends us from https to http, to {host}"
    if "@" in urlsplit(there).netloc:
        return f"it sends us to {host} with a name and a password"
    return None
