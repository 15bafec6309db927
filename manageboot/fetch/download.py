"""A file, or a part of one, that comes in pieces: each is judged before the next, and is from one mirror alone."""

from manageboot.fetch.fetcher import Fetcher, File
from manageboot.fetch.mirrors import Mirror
from manageboot.fetch.outcome import Outcome
from manageboot.fetch.stream import RequestError, Stream
from manageboot.fetch.wire import TO_THE_END, End


class Download:
    """Bytes from an offset on. Take a piece, judge it, and say `accept` or `reject`; then take the next.

    What came of a piece is kept for when its mirror is asked again. So a line that breaks again and again brings even a
    piece that is larger than what comes between two breaks, and none of it twice.
    """

    def __init__(self, fetcher: Fetcher, name: str, offset: int = 0, length: int | None = None) -> None:
        """Begin; nothing is asked for yet.

        Args:
            fetcher: the run.
            name: of the file, as it is put at the end of a base URL.
            offset: where to begin, in bytes.
            length: how much, in bytes; None: to the end of the file.
        """
        self._fetcher = fetcher
        self._file = File(name)
        self._position = offset
        self._end = TO_THE_END if length is None else offset + length
        self._parts: dict[Mirror, bytearray] = {}
        self._mirror: Mirror | None = None
        self._stream: Stream | None = None
        self._ahead = bytearray()
        self._taken: int | None = None
        self.total: int | None = None
        """Size of the whole file, as a mirror said it last."""

    @property
    def position(self) -> int:
        """The offset after the last byte that was accepted: where another run goes on."""
        return self._position

    @property
    def left(self) -> int:
        """How many bytes are to come, where that is known."""
        return self._end - self._position

    @property
    def mirror(self) -> str | None:
        """The mirror that sent the last piece; None: none did, or it is not to be asked again."""
        return None if self._mirror is None else self._mirror.base

    def take(self, size: int) -> bytes:
        """Return the next piece. Fewer bytes come only at the end of what was asked for; none: that is reached.

        Args:
            size: in bytes.

        Raises:
            FetchError: no mirror delivers it; the subclass says why.
            FetcherError, NotPermittedError, ConfigError: the child can't be started.
        """
        if self._taken is not None:
            raise ValueError("the piece before was not judged")
        size = min(size, self._end - self._position)
        if size == 0:
            return b""
        asked: Mirror | None = None
        until_s = 0.0
        while True:
            mirror = self._mirror = self._mirror or self._fetcher.choose(self._file)
            if mirror is not asked:
                asked, until_s = mirror, self._fetcher.patience_of(self._file, mirror)
            part = self._parts.setdefault(mirror, bytearray())
            try:
                if self._fill(mirror, part, size, until_s):
                    break
            except RequestError as error:
                received = 0 if self._stream is None else self._stream.received
                self._leave()
                self._fetcher.failed(self._file, mirror, error, received)
            except TimeoutError:
                asked = None
                received = 0 if self._stream is None else self._stream.received
                self._leave()
                self._fetcher.ran_out(self._file, mirror, received)
        with memoryview(part) as come:
            piece, self._ahead = bytes(come[:size]), bytearray(come[size:])
        self._taken = len(piece) or None
        return piece

    def accept(self) -> None:
        """Say that the piece is good. Nothing before its end is asked for again."""
        if self._taken is None or self._mirror is None:
            raise ValueError("there is no piece")
        self._position += self._taken
        self._taken = None
        self._parts = {self._mirror: self._ahead}
        self._fetcher.delivered(self._file, self._mirror)

    def reject(self, cause: str = "it sends wrong bytes") -> None:
        """Say that the piece is wrong. Its mirror is out for this run, and the next `take` asks another one."""
        if self._taken is None or self._mirror is None:
            raise ValueError("there is no piece")
        self._taken = None
        del self._parts[self._mirror]
        mirror = self._mirror
        self._leave()
        self._fetcher.reject(self._file, mirror, cause)

    def _fill(self, mirror: Mirror, part: bytearray, size: int, until_s: float) -> bool:
        """Read until a piece is whole, and tell whether it is; else the same mirror has to be asked for the rest.

        Raises:
            RequestError: the mirror fails.
            TimeoutError: the time is over that it has.
        """
        while len(part) < size:
            if self._stream is None or not self._fetcher.is_under_way(self._stream):
                begin = self._position + len(part)
                length = TO_THE_END if self._end == TO_THE_END else self._end - begin
                self._stream = self._fetcher.begin(self._file, mirror, begin, length)
            content = self._stream.read(until_s)
            if not content:
                return self._ended(self._stream, part)
            mirror.bytes += len(content)
            part += content
            self._note_total(self._stream)
        return True

    def _ended(self, stream: Stream, part: bytearray) -> bool:
        """Judge an answer that ended in good order before the piece was whole."""
        self._note_total(stream)
        self._stream = None
        if stream.end is not None and self._mirror is not None:
            self._mirror.skipped += stream.end.skipped
        whole = self.total is None or self._position + len(part) >= self.total
        if self._end == TO_THE_END and whole:
            self._end = self._position + len(part)
            return True
        if not stream.received:
            raise RequestError(End(Outcome.BROKEN, "it sends nothing"), clean=True)
        # A server may send less than it was asked for.
        return False

    def _note_total(self, stream: Stream) -> None:
        if stream.total is None or self.total == stream.total:
            return
        # Where the end is known, each piece is judged, and the size that somebody says of the file is not.
        if self.total is not None and self._end == TO_THE_END:
            cause = f"it has a file of {stream.total} bytes, and another mirror one of {self.total}"
            raise RequestError(End(Outcome.LIED, cause), clean=False)
        self.total = stream.total

    def _leave(self) -> None:
        self._stream = None
        self._mirror = None
