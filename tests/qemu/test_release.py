"""A node of Debian packages takes signed releases from a second disk, and follows who may sign them."""

import json
import re

import pytest

from qemu_harness.cache import Cache
from qemu_harness.cycle import V1, V2, V3
from qemu_harness.debian import chosen_release
from qemu_harness.disk import build_disk
from qemu_harness.machine import VirtualMachine
from qemu_harness.slot import build_slot_images, build_system
from support.signedmedia import FIRST, FURNITURE, INDEX, SECOND, TINY, build_signed_media
from support.trials import confirm_trial, reboot_into, status

INSTALL_LIMIT_S = 1800.0
TRUSTED = "/usr/share/manageboot/root.json"


def furnish(machine: VirtualMachine, mirror: str) -> None:
    """Give the booted system what its image would have: libraries, the root of trust, and where releases are."""
    machine.check(
        "set -e; mount -o remount,rw /; mkdir -p /etc/manageboot /usr/share/manageboot\n"
        f"cp -rn {FURNITURE}/. /; cp {FIRST}/metadata/1.root.json {TRUSTED}\n"
        "cat >/etc/manageboot/manageboot.toml; sync; mount -o remount,ro /",
        stdin=f'profile = "guestos"\n[channel]\nmirrors = ["{mirror}"]\nroot = "{TRUSTED}"\n'.encode(),
    )


def kept_roots(machine: VirtualMachine) -> list[str]:
    """The versions of the roots that the node follows."""
    return sorted(json.loads(machine.check("cat /boot/grub/manageboot.tuf").stdout)["roots"])


def refused(machine: VirtualMachine, *words: str) -> str:
    """The code word of an installation that is refused."""
    done = machine.run(["manageboot", "upgrade-install", *words], timeout_s=INSTALL_LIMIT_S)
    found = re.search(r"^manageboot: error: .* \[([A-Z0-9_]+)\]$", done.stderr, re.MULTILINE)
    assert done.exit_code and found, done
    return found[1]


@pytest.mark.qemu
@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_signed_release_is_installed_and_confirmed_and_its_signers_are_followed(cache: Cache) -> None:
    release = chosen_release()
    system = build_system(cache, release=release)
    slots = {version: build_slot_images(cache, system, version) for version in (V1, V2, V3)}
    disk = build_disk(cache, slots[V1], release=release)
    media = build_signed_media(cache, release, slots[V2], slots[V3])
    with VirtualMachine(cache, disk, media=media) as machine:
        machine.wait_until_up()
        furnish(machine, FIRST)
        assert f"release  {V2}, index {INDEX}: " in machine.check("manageboot check").stdout
        said = machine.check("manageboot upgrade-install", timeout_s=INSTALL_LIMIT_S).stderr
        assert f"slot B holds version {V2}\n" in said
        channel = status(machine)["channel"]
        [signer] = channel["releases"]["B"]["signed_by"]
        assert channel["floor"] == 0
        reboot_into(machine, "upgrade-commit")
        assert status(machine)["channel"]["floor"] == 0
        confirm_trial(machine, "B", V2, boots=2)
        assert status(machine)["channel"]["floor"] == INDEX

        furnish(machine, SECOND)
        # The system that runs came as a release, and is no longer quite that: furnishing it has written to its root.
        assert refused(machine, f"{FIRST}/{TINY}") == "BELOW_FLOOR"
        assert kept_roots(machine) == ["1"]
        said = machine.check("manageboot upgrade-install", timeout_s=INSTALL_LIMIT_S).stderr
        assert re.search(rf"slot A holds version {V3}; of {V2} in the booted slot, and \d+ bytes of frames\n", said)
        assert kept_roots(machine) == ["1", "2"]
        channel = status(machine)["channel"]
        assert channel["floor"] == INDEX
        assert channel["releases"]["A"]["signed_by"] == channel["signed_by"] != [signer]
        # Once the new root is known, what the old key signed counts for nothing.
        assert refused(machine, f"{FIRST}/{V2}") == "METADATA"
        reboot_into(machine, "upgrade-commit")
        confirm_trial(machine, "A", V3, boots=3)
        assert status(machine)["channel"]["floor"] == INDEX + 1
        machine.power_off()
