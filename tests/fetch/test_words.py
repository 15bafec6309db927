"""What servers and the configuration say, and what goes through the pipes: text and bytes, and what they mean."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manageboot import errors
from manageboot.fetch import failures, headers, origin, tls, wire
from manageboot.fetch.headers import Content
from manageboot.fetch.options import CA_FILE, Options, base_url, from_mapping
from manageboot.fetch.outcome import ERRORS, Outcome
from manageboot.fetch.wire import End, Frames, Kind, Request

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (200, {}, Content(0, None, None)),
        (200, {"content-length": "10"}, Content(0, 10, 10)),
        (200, {"content-length": "-1"}, Content(0, None, None)),
        (206, {"content-range": "bytes 5-9/10"}, Content(5, 10, 10)),
        (206, {"content-range": "bytes 5-9/*"}, Content(5, 10, None)),
        (206, {"content-range": "bytes 9-5/10"}, None),
        (206, {"content-range": "bytes 5-10/10"}, None),
        (206, {"content-range": "bytes */10"}, None),
        (206, {"content-range": "bytes 5-9/1" + "0" * 40}, None),
        (206, {"content-range": "lines 5-9/10"}, None),
        (206, {"content-length": "5"}, None),
    ],
)
def test_where_content_lies(status: int, said: dict[str, str], expected: Content | None):
    assert headers.content(status, said) == expected


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "120"}, 120),
        ({"retry-after": "-1"}, 0),
        ({"retry-after": "9" * 30}, 0),
        ({"retry-after": "soon"}, 0),
        # With the server's own clock: that of the node may be in 1970.
        ({"retry-after": "Wed, 21 Oct 2015 07:30:00 GMT", "date": DATE}, 120),
        ({"retry-after": "Wed, 21 Oct 2015 07:20:00 GMT", "date": DATE}, 0),
        ({"retry-after": "Wed, 21 Oct 2015 07:30:00 GMT"}, 0),
    ],
)
def test_when_to_come_again(said: dict[str, str], seconds: int):
    assert headers.retry_after_s(said) == seconds


@pytest.mark.parametrize(
    ("there", "cause"),
    [
        ("https://cdn.example/file", None),
        ("http://a.example/file", "from https to http"),
        ("ftp://a.example/file", "to ftp URL"),
        ("file:///etc/shadow", "to file URL"),
        ("https://me:secret@b.example/", "with a name and a password"),
        ("https://[::1/", "can't be read"),
        ("https://a.example:port/", "can't be read"),
        ("https://a.example/\xff", "can't be read"),
    ],
)
def test_where_a_server_may_send_us(there: str, cause: str | None):
    said = origin.why_not_follow("https://a.example/file", there)
    assert (said is None) if cause is None else (said is not None and cause in said)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "169.254.169.254", "fe80::1%eth0"]
)
def test_addresses_of_this_node_alone(address: str):
    assert origin.is_local(address)
    assert not origin.is_local("192.0.2.1")
    assert not origin.is_local("2001:db8::1")


def test_an_origin_is_scheme_host_and_port():
    assert origin.origin_of("https://A.example/x") == origin.origin_of("https://a.example:443/y")
    assert origin.origin_of("https://a.example/") != origin.origin_of("https://a.example:444/")
    assert origin.origin_of("http://a.example/") != origin.origin_of("https://a.example/")


NOW = "2026-11-27 02:30:00"


@pytest.mark.parametrize(
    ("start", "stop", "cause"),
    [
        (b"2026-01-01 00:00:00 GMT", b"2027-01-01 00:00:00 GMT", None),
        (b"Jan  1 00:00:00 2026 GMT", b"Jan  1 00:00:00 2027 GMT", None),
        (b"2100-01-01 00:00:00 GMT", b"2101-01-01 00:00:00 GMT", "valid from 2100-01-01 on"),
        (b"Jan 31 00:00:00 2100 GMT", b"Jan  1 00:00:00 2101 GMT", "valid from 2100-01-31 on"),
        (b"Jan  1 00:00:00 1970 GMT", b"Feb  2 00:00:00 1971 GMT", "valid until 1971-02-02"),
        (b"rubbish", b"", None),
    ],
)
def test_what_the_clock_contradicts(start: bytes, stop: bytes, cause: str | None):
    said = tls.judged([[(b"Subject", b"x"), (b"Start Date", start), (b"Expire date", stop)]], NOW)
    assert (said is None) if cause is None else (said is not None and cause in said and "2026-11-27" in said)


@pytest.mark.parametrize(
    ("table", "cause"),
    [
        ({"rate": 10}, "channel.rate"),
        ({"rate": True}, "channel.rate"),
        ({"rate": "fast"}, "channel.rate"),
        ({"stall": 0}, "channel.stall"),
        ({"deadline": "1 h"}, "channel.deadline"),
        ({"backoff": float("nan")}, "channel.backoff"),
        ({"ca": "relative.pem"}, "channel.ca"),
        ({"ca": 1}, "channel.ca"),
        ({"key": "/key.pem"}, "channel.certificate"),
        ({"proxy": "proxy:3128"}, "channel.proxy"),
        ({"proxy": "http://a b/"}, "channel.proxy"),
        ({"proxy": "http://proxy.example:99999"}, "channel.proxy"),
        ({"proxy": "socks5h://"}, "channel.proxy"),
    ],
)
def test_what_the_configuration_may_not_say(table: dict[str, object], cause: str):
    with pytest.raises(errors.ConfigError, match=cause):
        from_mapping(table)


def test_what_the_configuration_says():
    table = {"rate": 100_000, "proxy": "http://proxy.example:3128", "stall": 10, "mirrors": ["of others"]}
    assert from_mapping(table) == Options(rate=100_000, proxy="http://proxy.example:3128", stall=10)
    assert from_mapping({}) == Options()
    # As curl takes it.
    assert from_mapping({"proxy": "http://me:p[w@proxy.example"}).proxy == "http://me:p[w@proxy.example"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mirror",
        "http://a.example:port/",
        "http://a.example:99999/",
        "http://:80/",
        "https://[::1/",
        "ftp://a/",
        "file:///x",
        "http://",
        "http:///x",
        "http://a/?x",
        "http://a/#x",
        "http://a /",
        "http://ä/",
    ],
)
def test_what_is_no_base_url(url: str):
    with pytest.raises(errors.ConfigError):
        base_url(url)


def test_a_password_in_a_base_url_is_neither_taken_nor_shown():
    with pytest.raises(errors.ConfigError) as caught:
        base_url("https://me:secret@a.example/")
    assert "secret" not in str(caught.value)
    assert "netrc" in str(caught.value.hint)


def test_a_base_url_ends_with_a_slash():
    assert (
        base_url("http://a.example/releases") == base_url("http://a.example/releases/") == "http://a.example/releases/"
    )


def test_each_outcome_has_an_error():
    assert ERRORS.keys() == set(Outcome)


@given(
    st.builds(
        Request,
        st.sampled_from(["http://a/x", "", "http://[::1]:80/a b/é"]),
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**64 - 1),
        st.booleans(),
    )
)
def test_a_request_is_read_as_it_was_written(request: Request):
    assert Request.unpack(request.pack()) == request


@given(
    st.builds(
        *(End, st.sampled_from(Outcome), st.sampled_from(["", "it broke", "\x1b[2J é"])),
        retry_after_s=st.integers(0, 2**32 - 1),
        skipped=st.integers(0, 2**64 - 1),
    )
)
def test_an_end_is_read_as_it_was_written(end: End):
    assert End.unpack(end.pack()) == end


@given(st.binary(max_size=200), st.lists(st.integers(1, 50)))
def test_whatever_comes_is_frames_or_an_error(content: bytes, cuts: list[int]):
    frames = Frames(frozenset(Kind), 100)
    taken = 0
    for size in [*cuts, len(content)]:
        frames.feed(content[taken : taken + size])
        taken += size
        try:
            while (frame := frames.next()) is not None:
                assert len(frame[1]) <= 100
        except wire.WireError:
            return


def test_each_option_and_each_code_word_is_explained():
    page = (Path(__file__).parents[2] / "docs" / "network.md").read_text()
    rows = set(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, re.MULTILINE))
    named = {word for row in rows for word in re.findall(r"\w+", row)}
    assert named == {*Options._fields, *(error.code for error in ERRORS.values()), failures.FetcherError.code}
    for name in ("stall", "deadline", "backoff"):
        assert f"| `{name}` | {getattr(Options(), name):g} |" in page
    assert f"| `ca` | `{CA_FILE}` |" in page
