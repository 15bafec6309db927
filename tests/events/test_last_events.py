"""The last events, which `status` shows, are those of the whole history, though less of it is read."""

import zlib
from pathlib import Path

import pytest

from manageboot import config
from manageboot.config import Config
from manageboot.events import history
from manageboot.events.history import RECORD_BYTES, RECORD_COUNT, Entry


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    """A node whose block lies where GRUB's own configuration does."""
    (tmp_path / "grub").mkdir()
    (tmp_path / "grub" / "grub.cfg").touch()
    return config.load(profile="guestos", grubenv=str(tmp_path / "grub" / "grubenv"))


def entry(number: int, message: str = "Slot B is confirmed") -> Entry:
    return Entry("2026-11-24T18:54:25+00:00", "confirmed", "B", f"{message} {number}", "b0")


def file_of(settings: Config) -> Path:
    return Path(history.path_of(settings))


def fill(settings: Config, count: int) -> None:
    for number in range(count):
        history.append(settings, entry(number))


def changed(content: bytes, number: int, old: bytes, new: bytes) -> bytes:
    """What a record says instead, with a checksum that is right, or as a torn write leaves it."""
    record = content[number * RECORD_BYTES :][:RECORD_BYTES]
    assert old in record
    body = record[9:].replace(old, new).rstrip()
    text = f"{body.decode():{RECORD_BYTES - 10}}\n".encode()
    made = b"%08x " % zlib.crc32(text) + text
    return content[: number * RECORD_BYTES] + made + content[(number + 1) * RECORD_BYTES :]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, RECORD_COUNT, RECORD_COUNT + 2])
def test_the_last_events_are_those_of_the_whole_history(settings: Config, count: int):
    fill(settings, count)
    assert history.last(settings, 3) == history.read(settings).entries[-3:]


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"sequence":', b'"sequence": '),
        (b'"confirmed"', b'"sequence"'),
        (b"Slot B is", b',\\"sequence\\":99} '),
        (b"}", b',"newer":{"a":1,"sequence":99}}'),
        (b"}", b',"newer":99}'),
        (b"}", b'9,"sequence":2}'),
        (b"}", b'}{"a":1,"sequence":99}'),
        (b"}", b"0000000000000000000000}"),
    ],
)
def test_the_last_events_whoever_wrote_a_record(settings: Config, number: int, old: bytes, new: bytes):
    fill(settings, 6)
    content = file_of(settings).read_bytes()
    torn = content[: number * RECORD_BYTES + 100] + b"x" + content[number * RECORD_BYTES + 101 :]
    twice = content + content[number * RECORD_BYTES :][:RECORD_BYTES].replace(b"is confirmed", b"is committed")
    for other in (changed(content, number, old, new), torn, twice):
        file_of(settings).write_bytes(other)
        assert history.last(settings, 3) == history.read(settings).entries[-3:]
