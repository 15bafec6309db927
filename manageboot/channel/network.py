"""Mirrors on a network: each has the same releases, and whichever delivers is asked.

A mirror that sent a wrong file or frame is out for the run, and the next one goes on where it was.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from manageboot import errors
from manageboot.channel.place import Judge, Needed
from manageboot.fetch import options
from manageboot.fetch.download import Download
from manageboot.fetch.fetcher import Fetcher
from manageboot.fetch.mirrors import Traffic, Trouble, together
from manageboot.fetch.outcome import Outcome
from manageboot.fetch.small import SmallFile
from manageboot.system import console

logger = logging.getLogger(__name__)

_LOOK_S = 60
"""How long a file is asked for that nothing depends on."""


class Network:
    """A place on web servers; what its methods promise stands at Place."""

    is_remote = True

    def __init__(self, mirrors: Sequence[str], channel: Mapping[str, Any], *, folder: str = "") -> None:
        """Begin a run; nothing is asked for yet.

        Args:
            mirrors: their base URLs, the best first.
            channel: the table `[channel]` of the configuration, which says how to fetch.
            folder: a folder of the mirrors that is the place; empty: they are it.

        Raises:
            ConfigError: a URL can't be fetched from, or the table has a value that can't be right.
        """
        self._begin = partial(Fetcher, mirrors, tell=_tell)
        self._options = options.from_mapping(channel)
        self._fetcher = self._begin(self._options)
        self._aside: list[Fetcher] = []
        self._folder = f"{folder}/" if folder else ""
        self.name = f"{mirrors[0].rstrip('/')}/{folder}".rstrip("/")
        self._last: SmallFile | Download | None = None

    @property
    def giver(self) -> str:
        """Who gave the last file."""
        mirror = None if self._last is None else self._last.mirror
        return self.name if mirror is None else f"{mirror}{self._folder}".rstrip("/")

    def read(
        self,
        path: str,
        limit_bytes: int,
        *,
        judge: Judge | None = None,
        size: int | None = None,
        may_lack: bool = False,
    ) -> bytes:
        """Fetch a whole file."""
        self._last = None
        # What has a known size goes on where a line broke.
        file: SmallFile | Download
        if size is None or not 0 < size <= limit_bytes:
            file = SmallFile(self._fetcher, self._folder + path, limit_bytes, may_lack=may_lack)
        else:
            file = Download(self._fetcher, self._folder + path, 0, size)
        while True:
            content = file.take() if isinstance(file, SmallFile) else file.take(file.left)
            self._last = file
            try:
                if judge is not None:
                    judge(content)
            except errors.ReleaseDigestError as error:
                file.reject(_cause(error))
                continue
            file.accept()
            return content

    def look(self, path: str, limit_bytes: int) -> bytes:
        """Fetch a small file in a short run of its own: a mirror that is out there is not out here."""
        fetcher = self._begin(self._options._replace(deadline=min(self._options.deadline, _LOOK_S)))
        try:
            content = SmallFile(fetcher, self._folder + path, limit_bytes, may_lack=True).take()
        finally:
            fetcher.close()
        self._aside.append(fetcher)
        return content

    def go_on(self, cause: str) -> bool:
        """Leave out the mirror that gave the last file."""
        if not isinstance(self._last, SmallFile):
            return False
        self._last.reject(cause)
        self._last = None
        return not all(traffic.is_out for traffic in self._fetcher.traffic())

    def open(self, path: str, needed: Needed, *, aside: bool = False) -> "NetworkPack":
        """Give frames of a pack; nothing is asked for yet."""
        if aside:
            self._aside.append(self._begin(self._options))
        return NetworkPack(self._aside[-1] if aside else self._fetcher, self._folder + path, needed)

    def close(self) -> None:
        """End the children that fetch, if there are any."""
        for fetcher in (self._fetcher, *self._aside):
            fetcher.close()

    def traffic(self) -> tuple[Traffic, ...]:
        """Return what went to and came from each mirror so far."""
        runs = [fetcher.traffic() for fetcher in (self._fetcher, *self._aside)]
        return tuple(map(together, zip(*runs, strict=True)))


class NetworkPack:
    """A pack of which frames are fetched: those that lie one behind the other with one request."""

    def __init__(self, fetcher: Fetcher, name: str, needed: Needed) -> None:
        self._fetcher = fetcher
        self._name = name
        self._needed = needed
        self._download: Download | None = None

    def read(self, offset: int, size: int) -> bytes:
        """Return a frame that was found to be the right one; whoever sends another is out.

        Raises:
            FetchError: no mirror delivers it; the subclass says why.
            FetcherError, NotPermittedError, ConfigError: the child that fetches can't be started.
        """
        download = self._download
        if download is None or download.position != offset or download.left < size:
            length = max(self._needed.end(offset) - offset, size)
            download = self._download = Download(self._fetcher, self._name, offset, length)
        while True:
            stored = download.take(size)
            try:
                self._needed.judge(offset, stored)
            except errors.ReleaseDigestError as error:
                download.reject(_cause(error))
            else:
                download.accept()
                return stored

    def cancel(self) -> None:
        """End the run: whoever waits for bytes fails."""
        self._fetcher.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._download = None


def _cause(error: errors.ManagebootError) -> str:
    """Return why a file is wrong, without its name: the error of the run has that."""
    return str(error).partition(": ")[2] or str(error)


def _tell(trouble: Trouble) -> None:
    if trouble.outcome == Outcome.LIED:
        logger.warning("%s is passed over: %s: %s", trouble.mirror, trouble.name, trouble.text)
    elif console.debug:
        console.debug("fetch: %s%s: %s", trouble.mirror, trouble.name, trouble.text)
