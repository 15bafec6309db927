"""What the headers of an answer say: where its content begins, how large the file is, when to come again."""

import re
from email.utils import parsedate_to_datetime
from typing import NamedTuple

_CONTENT_RANGE = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_SECONDS_MAX = 2**31


class Content(NamedTuple):
    """Where the content of an answer lies in the file."""

    start: int
    stop: int | None
    """Offset after its last byte; None: the server does not say."""
    total: int | None
    """Size of the whole file; None: the server does not say."""


def content(status: int, headers: dict[str, str]) -> Content | None:
    """Tell where the content lies; None: it can't be told, so nothing of it may be used.

    Args:
        status: 200 or 206.
        headers: by their names in lower case.
    """
    if status == 206:
        match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
        if match is None:
            return None
        start, last = int(match[1]), int(match[2])
        total = None if match[3] == "*" else int(match[3])
        if last < start or (total is not None and last >= total):
            return None
        return Content(start, last + 1, total)
    length = headers.get("content-length", "").strip()
    total = int(length) if re.fullmatch(r"\d{1,18}", length) else None
    return Content(0, total, total)


def retry_after_s(headers: dict[str, str]) -> int:
    """Return after how many seconds the server wants to be asked again; 0: it does not say.

    A date is measured with the server's own clock, from the date of its answer: that of this node may be wrong.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}", value):
        return int(value)
    then, now = _seconds(value), _seconds(headers.get("date", ""))
    return 0 if then is None or now is None else min(max(0, then - now), _SECONDS_MAX)


def _seconds(date: str) -> int | None:
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None
