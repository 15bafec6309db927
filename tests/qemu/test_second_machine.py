"""The second machine of an upgrade of an encrypted guest: it runs the new slot from the disk of the first."""

import hashlib
import mmap
import shlex
from pathlib import Path

import pytest

from qemu_harness.cache import Cache
from qemu_harness.cycle import V1, V2
from qemu_harness.debian import Release
from qemu_harness.layout import FIRST_OFFSET, GUESTOS, TAIL_SIZE
from qemu_harness.machine import VirtualMachine
from qemu_harness.node import build_node
from qemu_harness.observation import observe
from qemu_harness.offline import read_file
from support.trials import INSTALL_DEADLINE_S, confirm_trial, wait_for

pytestmark = [pytest.mark.qemu, pytest.mark.long, pytest.mark.timeout(1800)]

# FAT notes the day on which a file was last read. That of the second machine is the day of the first.
SAME_DAY = ["-rtc", "base=2030-01-01T12:00:00"]
MARKS = "/run/config/guest_vm_type"
INSTALL = "upgrade-install /media/update-v2.tar.zst"


@pytest.mark.parametrize("release", Release, ids=lambda release: release.value)
def test_it_changes_nothing_and_the_upgrade_goes_on(cache: Cache, release: Release, tmp_path: Path) -> None:
    images = build_node(cache, release=release)
    before, after = tmp_path / "before.img", tmp_path / "after.img"
    with VirtualMachine(cache, images.disk, media=images.media, extra_arguments=SAME_DAY) as machine:
        machine.wait_until_up()
        machine.check(f"manageboot {INSTALL}", timeout_s=INSTALL_DEADLINE_S)
        history = machine.check("manageboot history").stdout
        machine.power_off()
        machine.export_disk(before)

    by_the_host = [*SAME_DAY, *direct_boot(before, "B", tmp_path)]
    with VirtualMachine(cache, before, media=images.media, extra_arguments=by_the_host) as machine:
        machine.wait_until_up()
        check_that_it_stays_out(machine)
        assert machine.check("manageboot history").stdout == history
        machine.power_off()
        machine.export_disk(after)
    # The new system makes the file system of its var, as in any first boot. No mount leaves anything elsewhere.
    assert differences(before, after) == {"B_var"}

    with VirtualMachine(cache, after, extra_arguments=SAME_DAY) as machine:
        machine.wait_until_up()
        seen = observe(machine)
        assert (seen.slot, seen.version, seen.status["state"]) == ("A", V1, "idle")
        assert (seen.record("A"), seen.record("B")) == ("-", f"installed {V2}")
        machine.check("manageboot upgrade-commit")
        machine.wait_until_up()
        confirm_trial(machine, "B", V2, boots=2)


def check_that_it_stays_out(machine: VirtualMachine) -> None:
    """Compare what the second machine says and does, before it is told that it is the second, and from then on."""
    seen = observe(machine)
    assert (seen.slot, seen.version, seen.root) == ("B", V2, "B_root")
    assert [seen.status[key] for key in ("state", "loader", "ownership")] == ["conflict", "other", "unknown"]
    wait_for(machine, daemon_says(f"waits for {MARKS}/default"))
    # As IC-OS does it, and as late.
    machine.check(f"mkdir -p {MARKS} && touch {MARKS}/upgrade")
    wait_for(machine, daemon_says("another machine owns the disk"))
    for verb in (INSTALL, "upgrade-commit", "upgrade-cancel", "confirm", "rollback"):
        done = machine.run(f"manageboot {verb}")
        assert (done.exit_code, done.stdout, "[CONFLICT]" in done.stderr) == (69, "", True), done
    seen = observe(machine)
    assert [seen.status[key] for key in ("ownership", "problems", "fallback")] == ["borrowed", [], None]
    # It has the records of its own var, and there are none.
    assert (seen.record("A"), seen.record("B")) == ("-", "-")
    # No record, no lock, no metrics.
    for directory in ("/var/lib/manageboot", "/run/grubenv", "/run/node_exporter/collector_textfile"):
        assert machine.check(f"ls -A {directory}").stdout == "", directory
    # No lock of the verbs either: what lies there is the daemon's own.
    assert machine.check("ls -A /run/manageboot").stdout == "daemon.json\ndaemon.lock\n"
    assert machine.check("systemctl show -P NRestarts -P ActiveState manageboot").stdout == "0\nactive\n"


def daemon_says(text: str) -> str:
    """Write the condition that the daemon tells systemd so."""
    return f"systemctl show -P StatusText manageboot | grep -q {shlex.quote(text)}"


def direct_boot(disk: Path, slot: str, directory: Path) -> list[str]:
    """Take kernel, initrd and arguments out of the boot of a slot, as a host does; give QEMU's words for them."""
    for name in ("vmlinuz", "initrd.img"):
        (directory / name).write_bytes(read_file(disk, f"{slot}_boot", f"/{name}"))
    settings = dict(word.split("=", 1) for word in shlex.split(read_file(disk, f"{slot}_boot", "/boot_args").decode()))
    images = ["-kernel", str(directory / "vmlinuz"), "-initrd", str(directory / "initrd.img")]
    return [*images, "-append", settings[f"BOOT_ARGS_{slot}"]]


def differences(one: Path, other: Path) -> set[str]:
    """Name the partitions of two disks that are not the same, byte for byte; and the rest, if that is not."""
    first, second = digests(one), digests(other)
    return {name for name in first if first[name] != second[name]}


def digests(disk: Path) -> dict[str, bytes]:
    places = {partition.name: (GUESTOS.offset(partition.name), partition.size) for partition in GUESTOS.partitions}
    places["first table"], places["second table"] = (0, FIRST_OFFSET), (GUESTOS.size - TAIL_SIZE, TAIL_SIZE)
    assert sum(size for _, size in places.values()) == disk.stat().st_size
    with (
        disk.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        memoryview(content) as view,
    ):
        return {name: hashlib.sha256(view[start : start + size]).digest() for name, (start, size) in places.items()}
