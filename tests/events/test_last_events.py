"""The last events, which `status` reads without the rest of the history, are those of the whole history."""

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
    (tmp_path / "grub.cfg").touch()
    return config.load(profile="guestos", grubenv=str(tmp_path / "grubenv"))


def fill(settings: Config, count: int) -> None:
    entries = [
        Entry("2026-11-24T18:54:25+00:00", "confirmed", "B", f"Slot B is confirmed {number}", "b0", sequence=number)
        for number in range(count)
    ]
    # A ring: what is newest lies somewhere in the middle.
    records = {entry.sequence % RECORD_COUNT: history.encode(entry) for entry in entries}
    Path(history.path_of(settings)).write_bytes(b"".join(records[place] for place in sorted(records)))


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
    content = Path(history.path_of(settings)).read_bytes()
    torn = content[: number * RECORD_BYTES + 100] + b"x" + content[number * RECORD_BYTES + 101 :]
    twice = content + content[number * RECORD_BYTES :][:RECORD_BYTES].replace(b"is confirmed", b"is committed")
    for other in (changed(content, number, old, new), torn, twice):
        Path(history.path_of(settings)).write_bytes(other)
        assert history.last(settings, 3) == history.read(settings).entries[-3:]
