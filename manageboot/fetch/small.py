"""A file that is small, and whose size nobody knows before: it comes as a whole, or not at all."""

from manageboot.fetch.fetcher import Fetcher, File
from manageboot.fetch.mirrors import Mirror
from manageboot.fetch.stream import RequestError
from manageboot.fetch.wire import TO_THE_END


class SmallFile:
    """A small file from whichever mirror delivers it. Take it, judge it, and say `accept` or `reject`."""

    def __init__(self, fetcher: Fetcher, name: str, limit: int, *, may_lack: bool = False) -> None:
        """Begin; nothing is asked for yet.

        Args:
            fetcher: the run.
            name: of the file, as it is put at the end of a base URL.
            limit: in bytes; a mirror that sends more lies.
            may_lack: it need not be there: the first mirror that has none is believed, as another one may be far away.
        """
        if limit >= TO_THE_END:
            raise ValueError("a limit is needed")
        self._fetcher = fetcher
        self._file = File(name)
        self._limit = limit
        self._may_lack = may_lack
        self._mirror: Mirror | None = None

    @property
    def mirror(self) -> str | None:
        """The mirror that sent it; None: none did, or it is not to be asked again."""
        return None if self._mirror is None else self._mirror.base

    def take(self) -> bytes:
        """Return the file.

        Raises:
            FetchGoneError: no mirror has it; with `may_lack`, one has not.
            FetchError: no mirror delivers it for another reason; the subclass says why.
            FetcherError, NotPermittedError, ConfigError: the child can't be started.
        """
        while True:
            mirror = self._fetcher.choose(self._file)
            content = bytearray()
            try:
                stream = self._fetcher.begin(self._file, mirror, 0, self._limit, whole=True)
                until_s = self._fetcher.patience_of(self._file, mirror)
                while chunk := stream.read(until_s):
                    mirror.bytes += len(chunk)
                    content += chunk
            except RequestError as error:
                self._fetcher.failed(self._file, mirror, error, 0)
                if self._may_lack and self._file.ended:
                    raise self._fetcher.lacking(self._file) from None
            except TimeoutError:
                self._fetcher.ran_out(self._file, mirror, len(content))
            else:
                self._mirror = mirror
                return bytes(content)

    def accept(self) -> None:
        """Say that it is good."""
        if self._mirror is not None:
            self._fetcher.delivered(self._file, self._mirror)

    def reject(self, cause: str = "it sends a wrong file") -> None:
        """Say that it is wrong. Its mirror is out for this run, and the next `take` asks another one."""
        if self._mirror is None:
            raise ValueError("it was not taken")
        self._fetcher.reject(self._file, self._mirror, cause)
        self._mirror = None
