"""What is kept of the frames that were fetched: no more than there is room for, and whatever fails stops nothing."""

from pathlib import Path

import pytest

from channel.test_network import INDEX, RELEASE
from manageboot.channel import spool
from manageboot.channel.plan import Plan
from manageboot.channel.spool import Spool


class Devices:
    """Devices on which a window is written when somebody waits for it."""

    def __init__(self) -> None:
        self.waited: list[tuple[str, int]] = []
        self.spool: Spool | None = None

    def is_written(self, role: str, end: int, wait_s: float) -> bool:
        if wait_s:
            self.waited.append((role, end))
            if self.spool is not None:
                self.spool.cancel()
        return (role, end) in self.waited

    def stays(self, role: str, offset: int) -> bool:
        return offset > 0 or role != "boot"


@pytest.fixture
def devices() -> Devices:
    return Devices()


def kept(directory: Path, devices: Devices) -> Spool:
    plan = Plan(INDEX, "full.pack")
    plan.passive = devices  # type: ignore[assignment]  # what a spool asks for
    plan.in_order = True
    return Spool(str(directory), INDEX, plan)


def stored(number: int) -> bytes:
    at = INDEX.offsets[number]
    return RELEASE.pack[at : at + INDEX.frame(number).size]


def test_no_more_is_fetched_than_there_is_room_for(tmp_path: Path, devices: Devices, monkeypatch: pytest.MonkeyPatch):
    """A frame is dropped when the window is written that needs it; that with the header stays, and takes no room."""
    monkeypatch.setattr(spool, "SPOOL_BYTES", len(stored(0)) + len(stored(2)))
    ours = kept(tmp_path, devices)
    for number in range(5):
        ours.make_room(number, number)
        ours.keep(number, stored(number))
    assert len(devices.waited) == 3
    assert [number for number in range(5) if ours.take(number) is not None] == [0, 3, 4]


def test_an_installation_that_ends_waits_for_no_room(tmp_path: Path, devices: Devices, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spool, "SPOOL_BYTES", 1)
    ours = devices.spool = kept(tmp_path, devices)
    ours.keep(2, stored(2))
    ours.keep(3, stored(3))
    ours.make_room(4, 4)
    assert len(devices.waited) == 1


def test_what_the_same_window_or_a_later_one_needs_is_not_waited_for(
    tmp_path: Path, devices: Devices, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(spool, "SPOOL_BYTES", 1)
    ours = kept(tmp_path, devices)
    ours.keep(2, stored(2))
    ours.keep(3, stored(3))
    ours.make_room(4, 2)
    assert devices.waited == []


def test_a_frame_of_which_a_part_was_written_is_not_kept(
    tmp_path: Path, devices: Devices, monkeypatch: pytest.MonkeyPatch
):
    """A tmpfs that is nearly full takes what it has room for, without an error."""
    ours = kept(tmp_path, devices)
    with monkeypatch.context() as patch:
        patch.setattr("os.write", lambda *_: 1)
        ours.keep(0, stored(0))
    assert (ours.take(0), list((tmp_path / "fetched").iterdir())) == (None, [])


def test_where_nothing_can_be_kept_all_goes_on(tmp_path: Path, devices: Devices):
    (tmp_path / "fetched").write_text("in the way")
    ours = kept(tmp_path, devices)
    ours.keep(0, stored(0))
    assert ours.take(0) is None
    ours.make_room(1, 1)
    spool.clear(str(tmp_path))


def test_what_is_done_leaves_nothing(tmp_path: Path, devices: Devices):
    kept(tmp_path, devices).keep(0, stored(0))
    spool.clear(str(tmp_path))
    assert not (tmp_path / "fetched").exists()


def test_a_file_whose_frame_is_on_its_device_is_written_over(
    tmp_path: Path, devices: Devices, monkeypatch: pytest.MonkeyPatch
):
    """So there is never more in memory than there is room for, and a longer frame leaves nothing of itself."""
    room = sum(len(stored(number)) for number in (1, 2))
    monkeypatch.setattr(spool, "SPOOL_BYTES", room)
    ours = kept(tmp_path, devices)
    for number in range(1, INDEX.frame_count):
        ours.make_room(number, number)
        ours.keep(number, stored(number))
        files = {path.name: path.read_bytes() for path in (tmp_path / "fetched").iterdir()}
        assert files[INDEX.frame(number).sha256.hex()] == stored(number)
        assert sum(map(len, files.values())) <= max(room, len(stored(number)) + len(stored(number - 1)))
    assert devices.waited


def test_what_was_written_over_is_taken_for_nothing_else(tmp_path: Path, devices: Devices):
    """The instant between the new name of a file and its new content."""
    ours = kept(tmp_path, devices)
    ours.keep(1, stored(1))
    names = [tmp_path / "fetched" / INDEX.frame(number).sha256.hex() for number in (1, 2)]
    names[0].rename(names[1])
    again = kept(tmp_path, devices)
    assert [again.take(number) for number in (1, 2)] == [None, None]
    assert not names[1].exists()
