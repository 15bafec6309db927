"""What a mirror can do wrong: what comes is right, none of it twice; where nothing can come the code word says why."""

import math
from random import Random

import pytest

from manageboot.fetch import failures
from manageboot.fetch.download import Download
from manageboot.fetch.fetcher import Fetcher
from manageboot.fetch.options import Options
from manageboot.fetch.small import SmallFile
from support import hostile
from support.hostile import CONTENT, PIECE, Behaviour, Hostile, answers, honest

pytestmark = pytest.mark.devices

QUICK = Options(stall=30, backoff=0.001, deadline=60)
HASTY = QUICK._replace(stall=0.2)
"""Where a mirror stalls; on a busy machine any may do so for that long."""
NO_PATIENCE = QUICK._replace(deadline=3)

AHEAD = 64 * 1024
"""What may be in the pipe, unread, when a connection breaks."""


def fetcher(*mirrors: Hostile, options: Options = QUICK) -> Fetcher:
    return Fetcher([mirror.url for mirror in mirrors], options, chance=Random(1))


def fetched(running: Fetcher, offset: int = 0, length: int | None = len(CONTENT)) -> bytes:
    """Fetch the file in pieces, each judged as a hash would judge it."""
    download = Download(running, "file", offset, None if length is None else length - offset)
    content = bytearray()
    while piece := download.take(PIECE):
        if piece == CONTENT[download.position : download.position + len(piece)]:
            content += piece
            download.accept()
        else:
            download.reject()
    return bytes(content)


STALLING = {"stall", "mute", "slower"}


def came(running: Fetcher) -> int:
    return sum(traffic.bytes for traffic in running.traffic())


@pytest.mark.parametrize(
    ("fault", "wasted"),
    [
        (hostile.cut(0), 0),
        (hostile.cut(100_000), 0),
        pytest.param(hostile.stall(100_000), PIECE + AHEAD, marks=pytest.mark.long),
        pytest.param(hostile.mute, 0, marks=pytest.mark.long),
        pytest.param(hostile.slower, PIECE, marks=pytest.mark.long),
        (hostile.no_ranges, 0),
        pytest.param(hostile.endless, 0, marks=pytest.mark.long),
        (hostile.begins_early, 0),
        pytest.param(hostile.begins_late, 0, marks=pytest.mark.long),
        (hostile.less, 0),
        pytest.param(hostile.does_not_say_which, 0, marks=pytest.mark.long),
        pytest.param(hostile.multipart, 0, marks=pytest.mark.long),
        pytest.param(hostile.says_too_much, 0, marks=pytest.mark.long),
        (hostile.other_release, 0),
        (hostile.longer_release, PIECE + AHEAD),
        (hostile.wrong_bytes, PIECE + AHEAD),
        pytest.param(hostile.recoded, PIECE + AHEAD, marks=pytest.mark.long),
        (hostile.portal, 0),
        pytest.param(hostile.rubbish, 0, marks=pytest.mark.long),
        pytest.param(hostile.endless_headers, 0, marks=pytest.mark.long),
        (hostile.closes, 0),
        (answers(302, Location="http://127.0.0.1:1/"), 0),
        pytest.param(answers(302, Location="file:///etc/passwd"), 0, marks=pytest.mark.long),
        pytest.param(answers(302, Location="gopher://127.0.0.1/"), 0, marks=pytest.mark.long),
        pytest.param(answers(302), 0, marks=pytest.mark.long),
        pytest.param(answers(403), 0, marks=pytest.mark.long),
        pytest.param(answers(404), 0, marks=pytest.mark.long),
        pytest.param(answers(416), 0, marks=pytest.mark.long),
        (answers(429, Retry_After=3600), 0),
        pytest.param(answers(500), 0, marks=pytest.mark.long),
        (answers(503, Retry_After="Wed, 21 Oct 2099 07:28:00 GMT"), 0),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_whatever_a_mirror_does_the_other_one_brings_the_rest(fault: Behaviour, wasted: int):
    options = HASTY if fault.__qualname__.partition(".")[0] in STALLING else QUICK
    with Hostile(fault) as first, Hostile(honest) as second, fetcher(first, second, options=options) as running:
        assert fetched(running, 10_000) == CONTENT[10_000:]
        assert len(CONTENT) - 10_000 <= came(running) <= len(CONTENT) - 10_000 + wasted


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (hostile.cut(0), failures.FetchBrokenError),
        (hostile.stall(100), failures.FetchStalledError),
        pytest.param(hostile.mute, failures.FetchStalledError, marks=pytest.mark.long),
        pytest.param(hostile.begins_late, failures.FetchLiedError, marks=pytest.mark.long),
        (hostile.does_not_say_which, failures.FetchLiedError),
        pytest.param(hostile.multipart, failures.FetchLiedError, marks=pytest.mark.long),
        (hostile.other_release, failures.FetchLiedError),
        (hostile.wrong_bytes, failures.FetchLiedError),
        pytest.param(hostile.recoded, failures.FetchLiedError, marks=pytest.mark.long),
        (hostile.portal, failures.FetchLiedError),
        pytest.param(answers(302, Location="/again"), failures.FetchBrokenError, marks=pytest.mark.long),
        pytest.param(answers(401), failures.FetchRefusedError, marks=pytest.mark.long),
        (answers(403), failures.FetchRefusedError),
        (answers(302, Location="http://a.example/\xff"), failures.FetchLiedError),
        (answers(404), failures.FetchGoneError),
        pytest.param(answers(410), failures.FetchGoneError, marks=pytest.mark.long),
        pytest.param(answers(416), failures.FetchLiedError, marks=pytest.mark.long),
        pytest.param(answers(429, Retry_After=3600), failures.FetchDeadlineError, marks=pytest.mark.long),
        pytest.param(answers(500), failures.FetchBrokenError, marks=pytest.mark.long),
        (answers(503, Retry_After=3600), failures.FetchDeadlineError),
    ],
    ids=lambda value: getattr(value, "__qualname__", None) or getattr(value, "__name__", None),
)
def test_the_code_word_says_what_the_only_mirror_does(fault: Behaviour, error: type[failures.FetchError]):
    at_once = error in {failures.FetchLiedError, failures.FetchRefusedError, failures.FetchGoneError}
    stalls = error is failures.FetchStalledError
    options = HASTY._replace(deadline=3) if stalls else QUICK if at_once else NO_PATIENCE
    with Hostile(fault) as mirror, fetcher(mirror, options=options) as running:
        with pytest.raises(error) as caught:
            fetched(running)
        assert type(caught.value) is error
        assert str(caught.value).startswith("cannot fetch file")
        assert mirror.url in str(caught.value)
        assert running.traffic()[0].code == error.code


def test_a_line_that_breaks_within_each_piece_brings_it_all_the_same_and_nothing_twice():
    with Hostile(hostile.cut(20_000)) as mirror, fetcher(mirror) as running:
        assert fetched(running) == CONTENT
        assert came(running) == len(CONTENT)
        assert running.traffic()[0].retries >= math.ceil(len(CONTENT) / 20_000) - 1


def test_a_mirror_that_dies_is_replaced_without_a_restart():
    dies = (hostile.cut(150_000), hostile.mute)
    with Hostile(*dies) as first, Hostile(honest) as second, fetcher(first, second, options=HASTY) as running:
        assert fetched(running) == CONTENT
        assert came(running) <= len(CONTENT) + PIECE
        assert second.asked[0].start % PIECE == 0


def test_a_mirror_that_sent_wrong_bytes_is_out_for_the_run_and_for_all_files():
    with Hostile(hostile.wrong_bytes, honest) as first, Hostile(honest) as second, fetcher(first, second) as running:
        assert fetched(running) == CONTENT
        assert fetched(running) == CONTENT
        assert len(first.asked) == 1
        assert [traffic.is_out for traffic in running.traffic()] == [True, False]


def test_a_mirror_that_lacks_one_file_is_asked_for_the_next():
    with Hostile(answers(404), honest) as first, Hostile(honest) as second, fetcher(first, second) as running:
        assert fetched(running) == CONTENT
        assert fetched(running) == CONTENT
        assert (len(first.asked), len(second.asked)) == (2, 1)


def test_a_busy_mirror_is_left_alone_as_long_as_it_wants():
    with Hostile(answers(503, Retry_After=1), honest) as mirror, fetcher(mirror) as running:
        assert fetched(running) == CONTENT
        assert (len(mirror.asked), running.traffic()[0].code) == (2, "FETCH_DEADLINE")


def test_one_connection_serves_many_requests():
    with Hostile(honest) as mirror, fetcher(mirror) as running:
        for _ in range(3):
            assert fetched(running, 350_000) == CONTENT[350_000:]
        assert len(mirror.asked) == 3
        assert len(mirror.connections) == 1


def test_what_is_asked_for_is_one_range_as_it_is():
    with Hostile(honest) as mirror, fetcher(mirror) as running:
        fetched(running, 1000, 2000)
    headers = mirror.asked[0].headers
    assert (headers["range"], headers["accept-encoding"]) == ("bytes=1000-1999", "identity")
    assert not headers.keys() & {"if-range", "cookie", "authorization"}


def test_a_file_of_unknown_size_comes_whole():
    with Hostile(hostile.cut(150_000), honest) as mirror, fetcher(mirror) as running:
        assert fetched(running, length=None) == CONTENT
        assert came(running) == len(CONTENT)


def test_a_mirror_with_a_file_of_another_size_lies():
    longer = CONTENT + b"more"

    def other(reply: hostile.Reply, asked: hostile.Asked) -> None:
        reply.head(206, Content_Range=f"bytes {asked.start}-{len(longer) - 1}/{len(longer)}")
        reply.raw(longer[asked.start :])

    with (
        Hostile(hostile.cut(10_000), other) as mirror,
        fetcher(mirror) as running,
        pytest.raises(failures.FetchLiedError, match=f"a file of {len(longer)} bytes"),
    ):
        fetched(running, length=None)


@pytest.mark.long
def test_a_mirror_that_drips_leaves_time_for_another_one():
    options = QUICK._replace(stall=1, deadline=8)
    with Hostile(hostile.drips) as first, Hostile(honest) as second, fetcher(first, second, options=options) as running:
        assert fetched(running) == CONTENT
        assert SmallFile(running, "file", len(CONTENT)).take() == CONTENT
        assert [traffic.code for traffic in running.traffic()] == ["FETCH_DEADLINE", None]
    # Where there is no other one, it has all the time.
    with Hostile(hostile.drips) as mirror, fetcher(mirror, options=options._replace(deadline=2)) as running:
        with pytest.raises(failures.FetchDeadlineError, match=r"within 2 s: it comes too slowly$"):
            fetched(running)
        assert len(mirror.asked) == 1


class TestSmallFile:
    """What is small, and of unknown size."""

    def test_it_comes_without_a_range(self):
        with Hostile(honest) as mirror, fetcher(mirror) as running:
            assert SmallFile(running, "1.root.json", len(CONTENT)).take() == CONTENT
            assert (mirror.asked[0].path, "range" in mirror.asked[0].headers) == ("/1.root.json", False)

    @pytest.mark.parametrize("fault", [honest, hostile.endless])
    def test_one_that_is_too_large_is_a_lie(self, fault: Behaviour):
        with (
            Hostile(fault) as mirror,
            fetcher(mirror) as running,
            pytest.raises(failures.FetchLiedError, match="more than 1000"),
        ):
            SmallFile(running, "file", 1000).take()

    def test_one_that_is_rejected_comes_from_another_mirror(self):
        with Hostile(hostile.portal) as first, Hostile(honest) as second, fetcher(first, second) as running:
            file = SmallFile(running, "file", len(CONTENT))
            assert file.take() != CONTENT
            file.reject()
            assert file.take() == CONTENT
            file.accept()

    def test_one_that_nobody_has_is_gone(self):
        with Hostile(answers(404)) as mirror, fetcher(mirror) as running, pytest.raises(failures.FetchGoneError):
            SmallFile(running, "2.root.json", 1000).take()
