"""What a server answers to one request, and how much of it is handed on. Runs in the child."""

from typing import Protocol

from manageboot.fetch import headers, wire
from manageboot.fetch.outcome import Outcome
from manageboot.fetch.pace import Limit, Pace
from manageboot.fetch.wire import TO_THE_END, End, Kind, Request

CONTENT = frozenset({200, 206})
"""The status of an answer with content."""
_ERROR_PAGE_MAX = 64 * 1024
"""Bytes of an error page that are read, so that the connection can be used again."""


class Parent(Protocol):
    """Whom the content is handed on to."""

    limit: Limit

    def send(self, kind: Kind, body: bytes) -> bool:
        """Hand a frame on, and tell whether the parent is still there."""

    def is_gone(self) -> bool:
        """Tell whether the parent is gone."""


class Answer:
    """What one server answers to one request, and how much of it is handed on."""

    def __init__(self, parent: Parent, request: Request, pace: Pace) -> None:
        """Begin with nothing answered.

        Args:
            parent: whom the content is handed on to.
            request: what was asked for.
            pace: how quickly it comes.
        """
        self.request = request
        self.pace = pace
        self.status = 0
        self.headers: dict[str, str] = {}
        self.verdict: End | None = None
        self.skipped = 0
        self.is_stalled = False
        self._parent = parent
        self._content: headers.Content | None = None
        self._ahead = 0
        self._held: list[bytes] = []
        self._handed_on = 0
        self._discarded = 0

    def is_done(self) -> bool:
        """Tell whether all that was asked for, and has a known length, is handed on."""
        return not self.request.whole and self._handed_on == self.request.length

    def ended(self) -> End:
        """Judge an answer whose end came in good order."""
        if self._content is None and not self._begin():
            return self.verdict or End(Outcome.BROKEN, "it sends nothing")
        if self.request.whole or self.request.length == TO_THE_END:
            return End(Outcome.DONE)
        # What follows is asked for once more, and what has no known end may have been cut.
        return End(Outcome.DONE if self.status == 206 else Outcome.BROKEN, "it ends too early")

    def take_header(self, raw: bytes) -> None:
        """Note a line of the headers."""
        line = raw.decode("latin-1").strip()
        if line.startswith("HTTP/"):
            # The last one counts: before it there may be that of a proxy, or 100 Continue.
            word = line.split(maxsplit=2)[1:2]
            self.status = int(word[0]) if word and word[0].isdecimal() else 0
            self.headers.clear()
        elif ":" in line:
            name, _, value = line.partition(":")
            self.headers.setdefault(name.strip().lower(), value.strip())

    def take(self, chunk: bytes) -> int | None:
        """Hand on what belongs to what was asked for; 0 ends the answer."""
        self.pace.count(len(chunk))
        if self.status not in CONTENT:
            self._discarded += len(chunk)
            return None if self._discarded <= _ERROR_PAGE_MAX else 0
        if self._content is None and not self._begin():
            return 0
        wanted = memoryview(chunk)
        if self._ahead:
            before = min(self._ahead, len(wanted))
            self._ahead -= before
            self.skipped += before
            wanted = wanted[before:]
        rest = self.request.length - self._handed_on
        if self.request.whole and len(wanted) > rest:
            self.verdict = End(Outcome.LIED, f"it sends more than {self.request.length} bytes")
            return 0
        part = wanted[:rest]
        with self.pace.paused():
            self._parent.limit.wait(len(chunk))
        if part and not self._hold(bytes(part)):
            return 0
        self._handed_on += len(part)
        return None if len(part) == len(wanted) else 0

    def flush(self) -> bool:
        """Hand on what is held, and tell whether the parent is still there."""
        if not self._held:
            return True
        body = b"".join(self._held)
        self._held.clear()
        with self.pace.paused():
            return self._parent.send(Kind.DATA, body)

    def _hold(self, part: bytes) -> bool:
        """Hold what came until it is enough for a frame: curl gives what it has read in small pieces."""
        if self._held_bytes() + len(part) > wire.ANSWER_MAX and not self.flush():
            return False
        self._held.append(part)
        return self._held_bytes() < wire.ANSWER_MAX or self.flush()

    def _held_bytes(self) -> int:
        return sum(map(len, self._held))

    def _begin(self) -> bool:
        """Look at the headers of an answer with content, and tell whether it can be used."""
        request = self.request
        content = headers.content(self.status, self.headers)
        needed = 0 if request.whole else request.offset + (0 if request.length == TO_THE_END else request.length)
        if content is None:
            self.verdict = End(Outcome.LIED, "it sends a part of the file, and does not say which")
        elif content.start > request.offset or (content.stop is not None and content.stop < request.offset):
            self.verdict = End(
                Outcome.LIED, f"it sends bytes {content.start} and on instead of {request.offset} and on"
            )
        elif content.total is not None and content.total < needed:
            self.verdict = End(Outcome.LIED, f"it has a file of {content.total} bytes instead of {needed} or more")
        elif request.whole and content.total is not None and content.total > request.length:
            self.verdict = End(Outcome.LIED, f"it has a file of {content.total} bytes, more than {request.length}")
        else:
            self._content = content
            self._ahead = request.offset - content.start
            total = wire.pack_begin(content.total)
            with self.pace.paused():
                return self._parent.send(Kind.BEGIN, total)
        return False

    def look(self, *_counts: int) -> int:
        """Tell curl whether to go on; 1 ends the answer. It asks each time that it has read, and once a second."""
        if not self.flush() or self._parent.is_gone() or (self.is_done() and self.pace.is_over()):
            return 1
        self.is_stalled = not self.is_done() and self.pace.is_stalled()
        return int(self.is_stalled)
