"""A stopped guest on a disk that fails as it is told to, while the slot that GRUB trusts is overwritten."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from manageboot.boot.header import HEADER_BYTES
from qemu_harness import layout
from support.blocks import GARBAGE
from support.campaign import KEPT, Case
from support.grubemu import SHIPPED, STOCK
from support.guestdisk import GuestDisk
from support.images import MIB, make_bootable_update
from support.loop import loop_devices
from support.mounts import fill, forget, make_ext4, mounted
from support.node import Node
from support.served import Faults, served

OUTCOMES = ("untouched", "void", "complete")
"""What may become of the slot."""

STARTS = {
    "stable": {"boot_alternative": "A", "boot_cycle": "stable"},
    "given-up": {"boot_alternative": "B", "boot_cycle": "failsafe_check"},
}
"""Blocks by which slot A is the trusted one: it always was, or the trial of slot B is over."""

_SIZES_MIB = {"esp": 1, "grub": 16, "config": 1, "boot": 1, "root": 3, "var": 1}
_PLAN = replace(
    layout.GUESTOS,
    partitions=tuple(
        replace(one, size=_SIZES_MIB[one.name.rpartition("_")[2]] * MIB) for one in layout.GUESTOS.partitions
    ),
)
_SLOT_A = ("A_boot", "A_root", "A_var")
_RECORD_BYTES = 4 * MIB
_BLOCK_BYTES = 1024
_SIGNATURE = b"# GRUB Environment Block\n"


class CrashGuest(Node):
    """A guest whose slots both hold a system; it is set back to the same old state for each case."""

    def __init__(self, directory: Path, disks: Path, faults: Faults, loops: dict[str, str]) -> None:
        super().__init__(directory)
        self.events, self.plan = faults.events, faults.plan
        self._disk, self._disks, self._loops = disks / "disk", disks, loops
        self._judge = GuestDisk(directory / "judged.img", _PLAN, SHIPPED, directory / "emulated")
        self._update = _update(directory, "new")
        self._old = {name: (disks / name).read_bytes() for name in loops}
        self.state.mkdir()
        self.config.write_text(
            f'profile = "guestos"\n[state]\ndirectory = "{self.state}"\nlock = "{self.lock}"\n'
            f'[install]\nwipe_var = "1MiB"\n'
        )

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line of a run."""
        return super().command("--disk", self._loops["disk"], *arguments)

    def install(self) -> subprocess.CompletedProcess[str]:
        """Overwrite the trusted slot."""
        return self.run("upgrade-install", "--slot", "A", "--overwrite-trusted", self._update)

    def count_events(self) -> list[str]:
        """Overwrite it once without a fault, and return the writes and flushes of that."""
        self.reset()
        with self._record_mounted():
            self.plan()  # the mount was not of the installation
            done = self.install()
            events = self.events()
        assert (done.returncode, self.judge(self.found())) == (0, "complete"), done
        return events

    def reset(self) -> None:
        """Forget the faults, and fill the disks with what was there."""
        self.plan()
        for name, old in self._old.items():
            fill(self._loops[name], self._disks / name, old)

    def run_case(self, case: Case) -> str:
        """Let one installation meet its fault; return what became of the slot.

        Raises:
            AssertionError: GRUB boots no whole system then, something else was touched, or a second run failed.
        """
        self.reset()
        with self._record_mounted():
            self.plan(**case._asdict())
            first = self.install()
            # What the unmount writes is the host's own, and how much that is depends on who synced before.
            self.plan(over=True)
            if case.event is None:
                self.plan(cut=True)
            # Whatever the host had not written yet is lost with the power.
            forget(self._loops["disk"])
        self.plan(keep=KEPT.get(case.mode, 1))
        forget(self._loops["disk"])
        outcome = self.judge(self.found())
        if first.returncode == 0:
            assert outcome == "complete", (case, first)
        else:
            assert first.returncode in {73, 74, 77}, (case, first)
        with self._record_mounted():
            second = self.install()
            assert (second.returncode, self._outcome(self.found())) == (0, "complete"), (case, second)
            committed = self.run("upgrade-commit", "--slot", "A")
        assert committed.returncode == 0, (case, committed)
        assert self.boots(self.found()) == {"A"}, case
        return outcome

    def found(self) -> bytes:
        """Read the disk, behind the back of the device that leads to it."""
        return self._disk.read_bytes()

    def judge(self, found: bytes) -> str:
        """Say what became of slot A; whatever it is, GRUB boots a whole system, and all else of the disk is as it was.

        Raises:
            AssertionError: it is not so.
        """
        outcome = self._outcome(found)
        booted = self.boots(found)
        # Until its commit, nothing boots what was installed.
        assert booted == {"B"} or (booted, outcome) == ({"A"}, "untouched"), (booted, outcome)
        # Where GRUB can't read the block, it goes by the second one, and any system will do that is whole.
        fallen = self.boots(found, block=GARBAGE, scripts=(SHIPPED,))
        assert fallen == {"B"} or (fallen, outcome != "void") == ({"A"}, True), (fallen, outcome)
        return outcome

    def boots(
        self, found: bytes, *, block: bytes | None = None, scripts: tuple[Path, ...] = (SHIPPED, STOCK)
    ) -> set[str]:
        """Let GRUB boot a copy of the disk by each script; return the slots, with an empty word for none.

        Args:
            found: the disk.
            block: what lies there as the block, if it is not what was found.
            scripts: each grub.cfg. By the stock one GRUB does what a host does that boots its guests directly.
        """
        booted = set()
        for script in scripts:
            self._judge.path.write_bytes(found)
            self._judge.put("grub.cfg", script.read_bytes())
            if block is not None:
                self._judge.put("grubenv", block)
            booted.add(self._judge.boot()[0])
        return booted

    @contextmanager
    def _record_mounted(self) -> Iterator[None]:
        """Mount the disk of the host's records; who syncs all file systems of the machine meanwhile adds events."""
        with mounted(self._loops["record"], self.state):
            yield

    def _outcome(self, found: bytes) -> str:
        old = self._old["disk"]
        assert _without_slot_a(found) == _without_slot_a(old)
        parts = [_part(found, name) for name in _SLOT_A]
        if parts == [_part(old, name) for name in _SLOT_A]:
            return "untouched"
        boot, root = ((self._update.parent / f"{name}.img").read_bytes() for name in ("boot", "root"))
        whole = parts[0].startswith(boot) and parts[1].startswith(root) and not any(parts[2])
        return "complete" if whole else "void"


@contextmanager
def crash_guest(directory: Path, start: str = "stable") -> Iterator[CrashGuest]:
    """Make a guest on a faulty disk, and another such disk for the records of its host.

    Args:
        directory: where all of it goes.
        start: which of `STARTS` its block is.
    """
    disks, mount = directory / "disks", directory / "mount"
    for path in (disks, mount):
        path.mkdir(parents=True)
    _make_disk(disks / "disk", directory, STARTS[start])
    (disks / "record").write_bytes(bytes(_RECORD_BYTES))
    make_ext4(disks / "record")
    with served(disks, mount) as faults, loop_devices(mount, ("disk", "record")) as loops:
        yield CrashGuest(directory, disks, faults, loops)


def first_of_slot(events: list[str]) -> int:
    """Return the number of the event, counted from 1, that is the first write to the slot: it follows both blocks'."""
    return [number for number, event in enumerate(events, 1) if event == "write disk"][2]


def without_header(disk: bytes) -> bytes:
    """Return what the first write to the slot leaves of a disk."""
    start = _PLAN.offset("A_boot")
    return disk[:start] + bytes(HEADER_BYTES) + disk[start + HEADER_BYTES :]


def _make_disk(path: Path, directory: Path, block: dict[str, str]) -> None:
    disk = GuestDisk(path, _PLAN, SHIPPED, directory / "emulated")
    disk.make()
    disk.set_block(mb_trusted="A")
    disk.put("manageboot.env", disk.get("grubenv"))
    disk.set_block(**block, other="kept")
    for slot in "AB":
        images = _update(directory, f"old-{slot}").parent
        for part in ("boot", "root"):
            disk.overwrite(f"{slot}_{part}", (images / f"{part}.img").read_bytes())
        disk.overwrite(f"{slot}_var", b"var" * (MIB // 3))


def _update(directory: Path, version: str) -> Path:
    return make_bootable_update(directory / version, version, boot_size=MIB, more=100_000, root_size=5 * MIB // 2)


def _part(disk: bytes, name: str) -> bytes:
    start = _PLAN.offset(name)
    return disk[start : start + _PLAN.partition(name).size]


def _without_slot_a(disk: bytes) -> bytes:
    """Take out slot A, and the two blocks from the file system in which they lie."""
    rest = bytearray(disk)
    for name in _SLOT_A:
        start, size = _PLAN.offset(name), _PLAN.partition(name).size
        rest[start : start + size] = bytes(size)
    grub = _PLAN.offset("grub")
    at = rest.find(_SIGNATURE, grub)
    while at >= 0:
        rest[at : at + _BLOCK_BYTES] = b"#" * _BLOCK_BYTES
        at = rest.find(_SIGNATURE, at)
    return bytes(rest)
