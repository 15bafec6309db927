"""The history on a disk that loses its power, lies or fails at any write and any flush, under a real file system."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from manageboot import config, errors
from manageboot.config import Config
from manageboot.events import history
from manageboot.events.history import RECORD_BYTES, RECORD_COUNT, Entry
from support.campaign import KEPT
from support.faultydisk import MODES
from support.loop import loop_device
from support.mounts import fill, make_ext4, mounted
from support.served import Faults, served

pytestmark = pytest.mark.devices

STRIDE = 5
"""`make test` takes every fifth case, `make test-long` all. It has nothing in common with the number of modes."""
APPENDED = 3
TRIES = 5


class Disk(NamedTuple):
    """A faulty disk with the file system that GRUB reads."""

    backing: Path
    faults: Faults
    device: str
    directory: Path
    settings: Config

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Mount it; nothing is written then but what a test writes."""
        with mounted(self.device, self.directory):
            yield

    def append(self, number: int) -> bool:
        """Write an event, and say whether that was reported as done."""
        try:
            history.append(self.settings, Entry("2026-11-24T18:54:25+00:00", "confirmed", "B", f"event {number}"))
        except errors.ManagebootError:
            return False
        return True

    def found(self) -> list[str]:
        return [entry.message for entry in history.read(self.settings).entries]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    home = tmp_path_factory.mktemp("history")
    disks, mount, directory = home / "disks", home / "mount", home / "grub"
    for path in (disks, mount, directory):
        path.mkdir()
    (disks / "disk").write_bytes(bytes(4 << 20))
    make_ext4(disks / "disk")
    settings = config.load(profile="guestos", grubenv=str(directory / "grubenv"))
    with served(disks, mount) as faults, loop_device(mount / "disk") as device:
        made = Disk(disks / "disk", faults, device, directory, settings)
        with made.mounted():
            (directory / "grub.cfg").touch()
        yield made


class Start(NamedTuple):
    """What the disk holds before a case."""

    image: bytes
    events: list[str]


@pytest.fixture(scope="module")
def starts(disk: Disk) -> dict[str, Start]:
    """A disk without a history, and one whose ring is full; and the writes and flushes of what follows."""
    made = {}
    for name, before in (("none", 0), ("full", RECORD_COUNT + 5)):
        with disk.mounted():
            for number in range(before):
                assert disk.append(number)
        made[name] = disk.backing.read_bytes()
    return {name: Start(image, count_events(disk, image)) for name, image in made.items()}


def count_events(disk: Disk, image: bytes) -> list[str]:
    disk.faults.plan()
    fill(disk.device, disk.backing, image)
    with disk.mounted():
        disk.faults.plan()
        assert all(disk.append(1000 + number) for number in range(APPENDED))
        return disk.faults.events()


def meet(disk: Disk, start: Start, event: int, mode: str) -> str:
    """Let some appends meet a fault, and return what of it shows afterwards, for the message of a failed test."""
    case = f"{mode} at {event} of {len(start.events)}"
    disk.faults.plan()
    fill(disk.device, disk.backing, start.image)
    with disk.mounted():
        old = disk.found()
        disk.faults.plan(event=event, mode=mode)
        done = [disk.append(1000 + number) for number in range(APPENDED)]
    # Power is back; what was in the disk's cache is lost, or not.
    disk.faults.plan(keep=KEPT.get(mode, 1))
    with disk.mounted():
        found = disk.found()
        new = [f"event {1000 + number}" for number in range(APPENDED)]
        assert found == [message for message in (*old, *new) if message in found], case
        # One that was not reported as done may be there; each takes the place of an old one, whole or not.
        assert set(found) <= {*old, *new}, case
        replaced = sum(done) + (not all(done))
        assert set(old[replaced if len(old) == RECORD_COUNT else 0 :]) <= set(found), case
        if mode != "lie":
            told = [message for message, reported in zip(new, done, strict=True) if reported]
            assert [message for message in found if message in told] == told, case
        assert disk.append(2000), case
        assert disk.found()[-1] == "event 2000", case
        if old:
            assert Path(history.path_of(disk.settings)).stat().st_size == RECORD_BYTES * RECORD_COUNT, case
    return f"{sum(done)} of {APPENDED}"


def cases(start: Start) -> list[tuple[int, str]]:
    return [(event, mode) for event in range(1, len(start.events) + 1) for mode in MODES]


@pytest.mark.parametrize("name", ["none", "full"])
def test_a_power_cut_or_a_fault_costs_no_event_that_was_told(disk: Disk, starts: dict[str, Start], name: str):
    selected = cases(starts[name])[::STRIDE]
    outcomes = {meet(disk, starts[name], *case) for case in selected}
    assert len(outcomes) > 1, "no fault had an effect"


@pytest.mark.long
@pytest.mark.parametrize("name", ["none", "full"])
def test_all_of_them(disk: Disk, starts: dict[str, Start], name: str):
    for case in cases(starts[name]):
        meet(disk, starts[name], *case)


def test_an_event_is_one_write_and_a_flush(disk: Disk, starts: dict[str, Start]):
    """Nothing is allocated, and neither a directory nor a journal is written."""
    # Whoever syncs all file systems of the machine meanwhile adds some, and takes none away.
    tries = [count_events(disk, starts["full"].image) for _ in range(TRIES)]
    assert min(tries, key=len) == ["write disk", "flush disk"] * APPENDED
