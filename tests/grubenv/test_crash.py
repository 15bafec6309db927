"""A quick selection of the crash states; `python -m tests.grubenv.crash` tries all of them."""

import os
import shutil
from pathlib import Path

import pytest

from tests.grubenv.crash import record_guest, record_host
from tests.grubenv.crash.matrix import Result, judge
from tests.grubenv.crash.operations import OPERATIONS, key
from tests.grubenv.disks import need_loop_devices
from tests.grubenv.support import need
from tests.support.crashlog import SECTOR, Flush, Image, Recording, Write, divide, load, pack, save, unpack
from tests.support.crashstates import Phase, crash_states

UPDATE, STAGED = OPERATIONS[:2]
EDITENV = next(operation for operation in OPERATIONS if operation.tool == "grub-editenv")
QUICK_RESTARTS = 2


def check_clean(result: Result) -> None:
    assert result.states > 5
    assert result.restarted >= min(QUICK_RESTARTS, result.states)
    assert (result.failures, result.notes) == (0, ())


@pytest.mark.grub
@pytest.mark.parametrize("kind", record_guest.VFAT)
def test_on_vfat_every_crash_state_is_old_or_new(kind: str) -> None:
    need("grub-emu", "mcopy")
    recordings = load(record_guest.fixture(kind))
    assert recordings.keys() == {key(operation) for operation in OPERATIONS}
    for operation in OPERATIONS:
        if operation.tool == "grubenv":
            check_clean(judge(operation, recordings[key(operation)], kind, QUICK_RESTARTS))


@pytest.mark.grub
@pytest.mark.devices
@pytest.mark.parametrize("kind", record_host.EXT4)
def test_on_ext4_every_crash_state_is_old_or_new(tmp_path: Path, kind: str) -> None:
    need_fuse()
    recordings = record_host.record_ext4(kind, tmp_path, [UPDATE, STAGED])
    for operation in (UPDATE, STAGED):
        check_clean(judge(operation, recordings[key(operation)], kind, QUICK_RESTARTS))


@pytest.mark.grub
def test_the_machinery_finds_what_grub_editenv_does_wrong() -> None:
    """Hold the machinery to account: it must find the empty file that grub-editenv is known to leave."""
    need("grub-emu", "mcopy")
    kind = "vfat, FAT32"
    result = judge(EDITENV, load(record_guest.fixture(kind))[key(EDITENV)], kind, QUICK_RESTARTS)
    assert result.neither


def need_fuse() -> None:
    need_loop_devices()
    need("grub-emu", "fusermount", "e2fsck")
    pytest.importorskip("fuse")
    if not os.access("/dev/fuse", os.W_OK) or not shutil.which("mke2fs"):
        pytest.skip("no FUSE")


OLD, NEW = ("A", "old"), ("B", "new")


def write(sector: int, *letters: bytes) -> Write:
    return Write(sector * SECTOR, b"".join(letter * SECTOR for letter in letters))


def tried(*phases: Phase) -> set[str]:
    """Return the states in short: sector and first letter of each change."""
    return {
        " ".join(f"{number}{data[:1].decode()}" for number, data in sorted(state.changes.items()))
        for state in crash_states(phases)
    }


def test_every_subset_of_what_is_not_flushed_is_a_state() -> None:
    assert tried(Phase([write(0, b"a"), write(1, b"b")], frozenset({OLD}))) == {"", "0a", "1b", "0a 1b"}


def test_what_is_flushed_stays() -> None:
    assert tried(Phase([write(0, b"a"), Flush(), write(1, b"b")], frozenset({OLD}))) == {"", "0a", "0a 1b"}


def test_a_write_may_be_torn_at_each_sector() -> None:
    phase = Phase([write(0, b"a", b"b", b"c")], frozenset({OLD}))
    assert tried(phase) == {"", "0a", "0a 1b", "0a 1b 2c", "1b 2c", "2c"}


def test_what_one_phase_left_unflushed_can_be_lost_in_the_next() -> None:
    phases = [Phase([write(0, b"a")], frozenset({OLD, NEW})), Phase([], frozenset({NEW}))]
    lost = [state for state in crash_states(phases) if state.allowed == {NEW} and not state.changes]
    assert len(lost) == 1


def test_recordings_are_kept_exactly(tmp_path: Path) -> None:
    events = [write(3, b"x"), Flush(), write(4, b"y", b"z")]
    base: Image = {7: b"b" * SECTOR}
    save(tmp_path / "file", {"one": Recording(8192, base, events, events[:1])})
    assert load(tmp_path / "file") == {"one": Recording(8192, base, events, events[:1])}
    assert list(unpack(b"".join(map(pack, events)))) == events


def test_marks_divide_a_recording() -> None:
    def mark(text: str) -> Write:
        return Write(8192 - SECTOR, text.encode().ljust(SECTOR, b"\n"))

    events = [
        write(1, b"a"),
        mark("begin x"),
        write(2, b"b"),
        Flush(),
        mark("end x"),
        write(3, b"c"),
        mark("unmounted x"),
    ]
    [(name, found)] = divide(events, 8192).items()
    assert name == "x"
    assert found == Recording(8192, {1: b"a" * SECTOR}, [write(2, b"b"), Flush()], [write(3, b"c")])
