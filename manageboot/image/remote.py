"""An update image that a server has, as an input: fetched by the child that can do nothing else.

What came is not judged on its way: an archive has no hashes of its pieces. Its SHA-256 does that at the end, while the
slot can't be booted yet.
"""

from collections.abc import Mapping
from typing import Any

from manageboot import errors
from manageboot.fetch import options
from manageboot.fetch.download import Download
from manageboot.fetch.fetcher import Fetcher
from manageboot.fetch.mirrors import Trouble
from manageboot.image.source import without_query
from manageboot.system import console


class RemoteInput:
    """The bytes behind a URL. When the line breaks, they go on where they ended."""

    def __init__(self, url: str, channel: Mapping[str, Any]) -> None:
        """Begin; nothing is asked for yet.

        Args:
            url: of the file; http or https.
            channel: the table `[channel]` of the configuration.

        Raises:
            UsageError: it is no URL of a file, or has a password in it.
            ConfigError: the table has a value that can't be right.
        """
        self.name = without_query(url)
        base, _, name = self.name.rpartition("/")
        how = options.from_mapping(channel)
        try:
            # First, as it shows no password.
            self._fetcher = Fetcher([base], how, tell=_tell)
        except errors.ConfigError as error:
            raise errors.UsageError(str(error), hint=error.hint) from error
        query = url[len(self.name) :]
        if not name or "#" in url or " " in url or not (url.isascii() and url.isprintable()):
            raise errors.UsageError(f"cannot fetch {self.name!r}: it is not the URL of a file")
        self._download = Download(self._fetcher, name + query)

    @property
    def total(self) -> int | None:
        """The size of the file, once the server has said it."""
        return self._download.total

    def read(self, size: int) -> bytes:
        """Fetch so many bytes; less is the end.

        Raises:
            FetchError: they do not come; the subclass says why.
            FetcherError, NotPermittedError, ConfigError: the child can't be started.
        """
        piece = self._download.take(size)
        if piece:
            self._download.accept()
        return piece

    def check_end(self, size: int) -> None:
        """Do nothing: the fetcher takes no end for one before all that the server announced is there."""

    def end(self) -> None:
        """Make a read fail that waits, and all that follow."""
        self._fetcher.cancel()

    def close(self) -> None:
        """End the child."""
        self._fetcher.close()


def _tell(trouble: Trouble) -> None:
    if console.debug:
        console.debug("fetch: %s%s: %s", trouble.mirror, without_query(trouble.name), trouble.text)
