"""A hostOS: GRUB and kernel on logical volumes, an upgrade that its guest confirms, and a guest that it repairs."""

import json
from pathlib import Path

import pytest

from qemu_harness.cache import Cache
from qemu_harness.cycle import V2, run_cycle
from qemu_harness.debian import Release, chosen_release
from qemu_harness.hostcycle import HOST_STEPS
from qemu_harness.layout import GUESTOS, HOSTOS
from qemu_harness.machine import VirtualMachine
from qemu_harness.node import NodeImages, build_host
from qemu_harness.offline import read_environment, read_file
from qemu_harness.process import HarnessError, run
from support.trials import confirm_trial

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(1800)]

GUEST = "/dev/hostlvm/guestos"
OUTSIDE = f"manageboot --disk {GUEST} guestos"
INSTALL_DEADLINE_S = 600.0


@pytest.fixture(scope="module")
def host_images(cache: Cache) -> NodeImages:
    """A host that has never booted, of the release that DISTRIBUTION names, with manageboot as it is now."""
    return build_host(cache, chosen_release())


def test_grub_reads_what_it_needs_from_a_new_host(host_images: NodeImages) -> None:
    assert read_environment(host_images.disk, HOSTOS) == {}
    assert read_file(host_images.disk, "A_root", "/opt/ic/share/os-type", HOSTOS) == b"hostos\n"
    first, second = read_file(host_images.disk, "A_boot", "/boot_args", HOSTOS).decode().splitlines()
    assert first.startswith('BOOT_ARGS_A="root=/dev/hostlvm/A_root ro ')
    assert second.startswith('BOOT_ARGS_B="root=/dev/hostlvm/B_root ro ')


def test_an_upgrade_and_a_guest_that_is_repaired(cache: Cache, host_images: NodeImages, tmp_path: Path) -> None:
    """The guest is empty in both slots. Host and guest are machines of their own here, one after the other."""
    with VirtualMachine(cache, host_images.disk, media=host_images.media) as machine:
        list(run_cycle(machine, lambda _: None, HOST_STEPS[:3]))
        assert machine.check("systemctl is-active guestos.service").stdout == "active\n"
        assert machine.check("manageboot target_partition").stdout == "/dev/hostlvm/A_root\n"
        assert json.loads(machine.check("manageboot doctor --json").stdout)["findings"] == []

        # Whoever has the guest's disk keeps manageboot out, except for a look that may be stale.
        busy = machine.run(f"exec 3<>{GUEST}; {OUTSIDE} upgrade-cancel & wait $!")
        assert (busy.exit_code, "[DEVICE_BUSY]" in busy.stderr) == (69, True), busy
        seen = json.loads(machine.check(f"exec 3<>{GUEST}; {OUTSIDE} status --json & wait $!").stdout)
        assert (seen["state"], seen["may_be_stale"], "has it open for writing" in seen["disk_user"]) == (
            "idle",
            True,
            True,
        )
        before = json.loads(machine.check(f"{OUTSIDE} status --json").stdout)
        assert (before["state"], before["booted"]) == ("idle", "A")
        machine.check(f"{OUTSIDE} upgrade-install /media/update-v2.tar.zst", timeout_s=INSTALL_DEADLINE_S)
        machine.check(f"{OUTSIDE} upgrade-commit")
        # udev may look at one for a moment longer.
        machine.check('for i in $(seq 50); do [ -z "$(losetup --list --noheadings)" ] && exit; sleep 0.1; done; exit 1')
        guest = guest_of(machine, tmp_path)
    assert read_environment(guest) == {"boot_alternative": "B", "boot_cycle": "first_boot"}
    with pytest.raises(HarnessError):
        read_file(guest, "A_boot", "/vmlinuz")
    with VirtualMachine(cache, guest) as machine:
        machine.wait_until_up()
        confirm_trial(machine, "B", V2, boots=1)


def guest_of(machine: VirtualMachine, directory: Path) -> Path:
    """Power a host off, and take the disk of its guest out of its own."""
    # "0 SECTORS linear MAJOR:MINOR FIRST": where the volume lies in its partition.
    _, sectors, _, _, first = machine.check("dmsetup table hostlvm-guestos").stdout.split()
    machine.power_off()
    machine.export_disk(directory / "host.img")
    guest = directory / "guest.img"
    start = HOSTOS.offset("hostlvm") + int(first) * 512
    length = int(sectors) * 512
    parts = [f"skip={start}", f"count={length}", "bs=1M", "iflag=skip_bytes,count_bytes", "conv=sparse"]
    run(["dd", "status=none", f"if={directory / 'host.img'}", f"of={guest}", *parts])
    return guest


@pytest.mark.long
def test_a_guest_is_repaired_in_its_trusted_slot_and_keeps_var(
    cache: Cache, host_images: NodeImages, tmp_path: Path
) -> None:
    """Its trusted slot is broken, and in var lies what must not be lost."""
    var = GUESTOS.partition("A_var")
    with VirtualMachine(cache, host_images.disk, media=host_images.media) as machine:
        machine.wait_until_up()
        machine.check(
            f"device=$(losetup --find --show --offset {GUESTOS.offset('A_var')} --sizelimit {var.size} {GUEST}) && "
            "mkfs.ext4 -q $device && mount $device /mnt && echo precious > /mnt/kept && umount /mnt && "
            "losetup --detach $device"
        )
        install = f"{OUTSIDE} upgrade-install --slot A --keep-var"
        refused = machine.run(f"{install} /media/update-v2.tar.zst")
        assert (refused.exit_code, "[TRUSTED_SLOT]" in refused.stderr) == (69, True), refused
        machine.check(f"{install} --overwrite-trusted /media/update-v2.tar.zst", timeout_s=INSTALL_DEADLINE_S)
        machine.check(f"{OUTSIDE} upgrade-commit --slot A")
        guest = guest_of(machine, tmp_path)
    assert read_environment(guest) == {"boot_alternative": "A", "boot_cycle": "first_boot"}
    with VirtualMachine(cache, guest) as machine:
        machine.wait_until_up()
        assert machine.check("findmnt --noheadings --output PARTLABEL /var").stdout == "A_var\n"
        assert machine.check("cat /var/kept").stdout == "precious\n"
        confirm_trial(machine, "A", V2, boots=1)


@pytest.mark.long
@pytest.mark.parametrize("release", Release, ids=lambda release: release.value)
def test_two_upgrades_of_a_host(cache: Cache, release: Release, tmp_path: Path) -> None:
    images = build_host(cache, release)
    with VirtualMachine(cache, images.disk, media=images.media) as machine:
        results = list(run_cycle(machine, lambda _: None, HOST_STEPS))
        assert [result.remark for result in results if result.remark][-1] == (
            "GRUB's save_env: boot_cycle failsafe_check -> stable"
        )
        machine.power_off()
        machine.export_disk(tmp_path / "disk.img")
    assert read_environment(tmp_path / "disk.img", HOSTOS) == results[-1].seen.variables
