"""Where to look for releases: what the configuration lists, or what a command line names."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from manageboot import errors
from manageboot.channel import refusals
from manageboot.channel.directory import Directory
from manageboot.channel.place import Place
from manageboot.image.source import is_url
from manageboot.release.description import DESCRIPTION_BYTES_MAX, NAME
from manageboot.system import files


class Named(NamedTuple):
    """What a command line names."""

    place: Place
    only: str | None
    """The only release that counts there, by its folder; None: any of them."""


def listed(mirrors: Sequence[str], channel: Mapping[str, Any]) -> list[Place]:
    """Return the places of a list: each directory is one, and all URLs together are one, where the first of them is.

    Args:
        mirrors: absolute paths and URLs.
        channel: how to fetch.

    Raises:
        NetworkError: a URL is of a kind that nothing is fetched from.
        ConfigError: one is neither a path nor a URL that can be used.
    """
    urls = [mirror for mirror in mirrors if is_url(mirror)]
    places: list[Place] = []
    for mirror in mirrors:
        if not is_url(mirror):
            places.append(_directory(mirror))
        elif mirror == urls[0]:
            places.append(_network(urls, channel))
    return places


def named(where: str, channel: Mapping[str, Any]) -> Named:
    """Return the place that a path or a URL names: that of a release, or of a directory of releases.

    Raises:
        UsageError: it is a URL that can't be one.
        FetchError, FetcherError, NotPermittedError: a server can't be asked which it is.
    """
    if is_url(where):
        return _named_url(where, channel)
    path = files.absolute(where)
    if files.is_there(os.path.join(path, NAME)):
        return Named(Directory(os.path.dirname(path)), os.path.basename(path))
    return Named(Directory(path), None)


def of_release(where: str, channel: Mapping[str, Any]) -> Place:
    """Return the place that is one release, by its path or URL.

    Raises:
        UsageError: it is a URL that can't be one.
    """
    return _typed(where, channel) if is_url(where) else Directory(files.absolute(where))


def _named_url(where: str, channel: Mapping[str, Any]) -> Named:
    from manageboot.fetch.failures import FetchGoneError, FetchRefusedError

    whole = _typed(where, channel)
    above, _, folder = where.rstrip("/").rpartition("/")
    if above.endswith(("/", ":")):
        return Named(whole, None)
    place = _network([above], channel)
    try:
        # What it says is judged later; a bucket that lists nothing refuses what it does not have.
        place.read(f"{folder}/{NAME}", DESCRIPTION_BYTES_MAX, may_lack=True)
    except (FetchGoneError, FetchRefusedError):
        place.close()
        return Named(whole, None)
    return Named(place, folder)


def _typed(url: str, channel: Mapping[str, Any]) -> Place:
    """Return the place of a URL that was typed."""
    from manageboot.fetch import options

    try:
        options.base_url(url)
    except errors.ConfigError as error:
        raise errors.UsageError(str(error), hint=error.hint) from error
    return _network([url], channel)


def _network(urls: Sequence[str], channel: Mapping[str, Any]) -> Place:
    # Imported here: who installs from a directory needs no network.
    from manageboot.channel.network import Network

    return Network(urls, channel)


def _directory(mirror: str) -> Place:
    path = mirror if mirror.startswith("/") else _path(mirror)
    if path is None or "\0" in path:
        raise errors.ConfigError(f"cannot read releases from {mirror}: it is neither an absolute path nor a URL")
    return Directory(path)


def _path(mirror: str) -> str | None:
    """Return the path in a URL of this machine; None: it is none."""
    try:
        url = urlsplit(mirror)
    except ValueError:
        return None
    if url.scheme and url.scheme != "file" and url.netloc:
        raise refusals.NetworkError(
            f"cannot read releases from {mirror}: http and https are all that is fetched by",
            hint="copy them to a directory of this node, and name that",
        )
    if url.scheme != "file" or url.netloc not in {"", "localhost"} or not url.path.startswith("/"):
        return None
    return unquote(url.path)
