"""The life of a node that takes signed releases by itself: one is confirmed; the next one, a delta, falls back."""

import re
from collections.abc import Callable, Sequence

from powercuts.lives import ARRIVED, FELL_BACK, V2, V3, do, reset, up
from powercuts.recording import Life, Step
from powercuts.vouched import Vouched
from qemu_harness.cache import Cache
from qemu_harness.cycle import INSTALL_DEADLINE_S
from qemu_harness.debian import Release
from qemu_harness.disk import build_disk
from qemu_harness.layout import GUESTOS
from qemu_harness.machine import VirtualMachine
from qemu_harness.node import FACTORY_VERSION
from qemu_harness.process import HarnessError
from qemu_harness.slot import build_slot_images, build_system
from support.signedmedia import FIRST, FURNITURE, INDEX, MIN_INDEX, SECOND, WHEELS_PLACE, build_signed_media
from support.trials import wait_for

NAME = "release"

_CHANNEL = "/run/channel.toml"
_PACKAGES = "/usr/lib/python3/dist-packages"
# Neither is on the disk: what lies in the slots stays what the images are.
_FURNISH = (
    f"set -e; ls {FURNITURE} >/dev/null; cat >{_CHANNEL}\n"
    f"mountpoint -q {_PACKAGES} || "
    f"mount -t overlay -o lowerdir={FURNITURE}/{WHEELS_PLACE}:{_PACKAGES} overlay {_PACKAGES}"
)


def update(mirror: str, unattended: str, *, takes: str = "") -> Callable[[VirtualMachine], None]:
    """Give the action that lets the node update itself, in a window that is always open.

    Args:
        mirror: where releases are.
        unattended: how far it may go.
        takes: what the node has to say of the way by which the release comes: a pattern.
    """
    settings = (
        f'profile = "guestos"\n[channel]\nmirrors = ["{mirror}"]\nroot = "{FIRST}/metadata/1.root.json"\n'
        f'unattended = "{unattended}"\nwindow = "hourly"\nwindow_duration = "1h"\n'
    )

    def action(machine: VirtualMachine) -> None:
        machine.check(_FURNISH, stdin=settings.encode())
        done = machine.check(f"manageboot -c {_CHANNEL} update --progress bar", timeout_s=INSTALL_DEADLINE_S)
        if not re.search(takes, done.stderr):
            raise HarnessError(f"the node did not say that it takes the release as it has to: {done.stderr}")

    return action


def commit(mirror: str) -> Callable[[VirtualMachine], None]:
    """Give the action that lets the node commit what it has installed, and waits for the trial."""

    def action(machine: VirtualMachine) -> None:
        update(mirror, "commit")(machine)
        machine.wait_until_up()
        wait_for(machine, ARRIVED)

    return action


def steps() -> Sequence[Step]:
    """Say what happens, and what is kept of releases afterwards."""
    confirmed = Vouched(INDEX, MIN_INDEX, root=1)
    return [
        Step("first boot", "the node starts for the first time", up, "A", "A"),
        Step("update to v2", "manageboot update installs v2, as root 1 lets it, into slot B", update(FIRST, "install"),
             "A", "A", "A", installs="B", vouched=Vouched(root=1)),
        Step("commit v2", "manageboot update commits v2, and the node reboots into its trial", commit(FIRST),
             "AB", "A"),
        Step("confirm", "manageboot confirm: the floor rises", do("manageboot confirm"), "AB", "B", "B", "confirm",
             vouched=confirmed),
        Step("update to v3", "manageboot update follows root 2, and installs v3, by a delta, into slot A",
             update(SECOND, "install", takes=rf"takes \d+ bytes as delta from {V2}"), "B", "B", "B",
             installs="A", vouched=confirmed._replace(root=2)),
        Step("commit v3", "manageboot update commits v3, and the node reboots into its trial", commit(SECOND),
             "AB", "B"),
        Step("reset", "the node is reset; GRUB goes back to v2", reset(FELL_BACK), "B", "B"),
        Step("set aside", "manageboot update notes that v3 did not stay", update(SECOND, "commit"), "B", "B", "B",
             vouched=Vouched(set_aside=1)),
    ]  # fmt: skip


def release_life(cache: Cache) -> Life:
    """Build the node, and say what will happen to it."""
    system = build_system(cache, release=Release.BOOKWORM)
    slots = {version: build_slot_images(cache, system, version) for version in (FACTORY_VERSION, V2, V3)}
    versions = {version: {"boot": images.boot, "root": images.root} for version, images in slots.items()}
    media = build_signed_media(cache, Release.BOOKWORM, slots[V2], slots[V3])
    title = "guestOS that takes signed releases, GRUB 2.06"
    disk = build_disk(cache, slots[FACTORY_VERSION])
    return Life(NAME, title, GUESTOS.system, disk, media, versions, steps(), Release.BOOKWORM.value)
