"""The answer to one request, as it comes from the child: no byte more than was asked for, and in no other order."""

import time

from manageboot.fetch import wire
from manageboot.fetch.outcome import Outcome
from manageboot.fetch.process import Worker
from manageboot.fetch.wire import TO_THE_END, End, Kind, Request
from manageboot.system import text


class RequestError(Exception):
    """A request failed."""

    def __init__(self, end: End, *, clean: bool) -> None:
        """Make it.

        Args:
            end: how.
            clean: the child said so itself, and can be asked again.
        """
        super().__init__(end.text)
        self.end = end
        self.clean = clean


class Stream:
    """One request under way."""

    def __init__(self, worker: Worker, request: Request, silence_s: float) -> None:
        """Ask.

        Args:
            worker: a child with nothing under way.
            request: what to ask for.
            silence_s: how long the child may say nothing at all, whatever servers do, until one has begun to answer.

        Raises:
            RequestError: the child is gone.
        """
        self._worker = worker
        self._request = request
        self._silence_s = silence_s
        self._begun = False
        self._received = 0
        self.total: int | None = None
        """Size of the whole file, as far as the server says; known after the first read."""
        self.end: End | None = None
        """How it ended; None: it did not yet."""
        try:
            worker.ask(request)
        except wire.WireError as error:
            raise _broken(error) from error

    @property
    def received(self) -> int:
        """How many bytes came."""
        return self._received

    def read(self, until_s: float) -> bytes:
        """Return the next bytes; none: all that comes has come.

        Args:
            until_s: monotonic time.

        Raises:
            RequestError: no more comes.
            TimeoutError: nothing came until then.
        """
        while self.end is None:
            kind, body = self._receive(until_s)
            if kind == Kind.DATA:
                self._received += len(body)
                if not body or not self._begun or self._received > self._request.length:
                    raise _broken(wire.WireError("bytes that nobody asked for"))
                return body
            if kind == Kind.BEGIN and not self._begun:
                self._begun = True
                self.total = self._unpacked(body)
            elif kind == Kind.END:
                self._finish(body)
            else:
                raise _broken(wire.WireError(f"a frame {kind.name} out of order"))
        return b""

    def is_whole(self) -> bool:
        """Tell whether all that was asked for came, so that only its end is still to be heard."""
        return self._received == self._request.length != TO_THE_END

    def drain(self, wait_s: float) -> bool:
        """Hear the end of an answer that came whole, and tell whether the child can be asked for something else.

        Args:
            wait_s: for how long.
        """
        if self.end is None and self.is_whole():
            try:
                self.read(time.monotonic() + wait_s)
            except (RequestError, TimeoutError):
                return False
        return self.end is not None

    def _receive(self, until_s: float) -> tuple[Kind, bytes]:
        # Then it may have much to skip, and ends it by itself where the server stalls.
        silent_s = until_s if self._begun else time.monotonic() + self._silence_s
        try:
            return self._worker.receive(min(until_s, silent_s))
        except wire.WireError as error:
            raise _broken(error) from error
        except TimeoutError:
            if until_s <= silent_s:
                raise
            raise RequestError(End(Outcome.STALLED, "the process that fetches says nothing"), clean=False) from None

    def _unpacked(self, body: bytes) -> int | None:
        try:
            return wire.unpack_begin(body)
        except wire.WireError as error:
            raise _broken(error) from error

    def _finish(self, body: bytes) -> None:
        try:
            end = End.unpack(body)
        except wire.WireError as error:
            raise _broken(error) from error
        self.end = end._replace(text=text.one_line(end.text))
        if end.outcome != Outcome.DONE:
            raise RequestError(self.end, clean=True)


def _broken(error: wire.WireError) -> RequestError:
    return RequestError(End(Outcome.BROKEN, str(error)), clean=False)
