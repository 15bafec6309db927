"""The comparison: one life, led with manageboot and with other procedures, and judged by the same rules.

Each procedure is set up as its documentation recommends, and where that leaves a choice, the safer one is taken.
"""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from powercuts import raucnode
from powercuts.lives import V2, V3, do, reboot, reset
from powercuts.recording import ANY_UPDATER, Life, Step
from qemu_harness.cache import Cache, content_key
from qemu_harness.cycle import INSTALL_DEADLINE_S
from qemu_harness.debian import Release
from qemu_harness.disk import build_disk
from qemu_harness.layout import GUESTOS
from qemu_harness.loader import SHIPPED, GrubPartition
from qemu_harness.machine import VirtualMachine
from qemu_harness.node import FACTORY_VERSION, UPDATES
from qemu_harness.process import run
from qemu_harness.slot import SlotImages, build_slot_images, build_system
from qemu_harness.update import build_media, build_update
from support.grubemu import STOCK

_NAMES = {version: name for name, version in UPDATES.items()}
# What an administrator would write down. /tmp is a tmpfs; all that was written is flushed before the block changes, and
# so is the block, before anybody is told that it has changed.
_UNPACK = "import sys, zstandard; zstandard.ZstdDecompressor().copy_stream(open(sys.argv[1], 'rb'), sys.stdout.buffer)"
_INSTALL = f"""\
set -e
unpacked=$(mktemp -d /tmp/update.XXXXXX)
python3 -c {shlex.quote(_UNPACK)} "$archive" | tar --extract --directory "$unpacked"
for part in boot root; do
    dd if="$unpacked/$part.img" of="/dev/disk/by-partlabel/${{passive}}_$part" bs=1M status=none
done
dd if=/dev/zero of="/dev/disk/by-partlabel/${{passive}}_var" bs=1M count=16 status=none
rm -r "$unpacked"
"""
_RENAME = """\
set -e
cd /boot/grub
{ printf '# GRUB Environment Block\\nboot_alternative=%s\\nboot_cycle=%s\\n' "$slot" "$cycle"
  head -c 1024 /dev/zero | tr '\\0' '#'; } | head -c 1024 >grubenv.tmp
mv grubenv.tmp grubenv
"""
_EDITENV = 'grub-editenv /boot/grub/grubenv set boot_alternative="$slot" boot_cycle="$cycle"\n'
_SYNC = "sync\n"


class Peer(NamedTuple):
    """A procedure, and the node that it runs on."""

    name: str
    title: str
    release: Release
    script: Path
    """The grub.cfg."""
    block: Mapping[str, str]
    """The environment block of a node that has never booted."""
    install: Callable[[str, str], str]
    """Gives the lines that install a version into a slot."""
    commit: Callable[[str], str] | None
    """Those that let it boot; None: the installation does."""
    confirm: Callable[[str], str]
    """Those that confirm the slot that is booted."""
    prepare: Callable[[Cache, Path, Release], Path]
    """Makes the system that the node has, out of manageboot's."""
    pack: Callable[[Cache, SlotImages, Release], Path]
    """Makes the file with the update."""
    file_name: Callable[[str], str]
    """Names it on the medium, by its version."""
    at_boot: str = "true"
    """What each boot ends with that is not a trial."""


def _pack(cache: Cache, images: SlotImages, _release: Release) -> Path:
    return build_update(cache, images)


def _file_name(version: str) -> str:
    return _NAMES[version]


def _without_manageboot(cache: Cache, system: Path, _release: Release) -> Path:
    """Give a copy of a system in which manageboot's daemon does not run: it would write to the block, too."""

    def build(directory: Path) -> None:
        run(["cp", "-a", "--reflink=auto", "--no-target-directory", system, directory])
        for verb in ("disable", "mask"):
            run(["chroot", directory / "root", "systemctl", verb, "manageboot.service"])

    return cache.entry("system", content_key("without manageboot", system.name), build)


def _with_rauc(cache: Cache, system: Path, release: Release) -> Path:
    return raucnode.add_rauc(cache, _without_manageboot(cache, system, release), release)


def _manageboot() -> Peer:
    return Peer(
        "manageboot", "manageboot", Release.BOOKWORM, SHIPPED.script, {},
        lambda _slot, version: f"manageboot upgrade-install /media/{_file_name(version)}",
        lambda _slot: "manageboot upgrade-commit --no-reboot",
        lambda _slot: "manageboot confirm",
        lambda _cache, system, _release: system,
        _pack,
        _file_name,
    )  # fmt: skip


def _shell(name: str, title: str, change: str, *, flushed: bool = True) -> Peer:
    def write(slot: str, version: str) -> str:
        return f"archive=/media/{_file_name(version)} passive={slot}\n{_INSTALL}{_SYNC if flushed else ''}"

    def block(slot: str, cycle: str) -> str:
        return f"slot={slot} cycle={cycle}\n{change}{_SYNC if flushed else ''}"

    return Peer(
        name, title, Release.BOOKWORM, STOCK, {},
        write,
        lambda slot: block(slot, "first_boot"),
        lambda slot: block(slot, "stable"),
        _without_manageboot,
        _pack,
        _file_name,
    )  # fmt: skip


def _rauc(name: str, title: str, release: Release) -> Peer:
    return Peer(
        name, title, release, raucnode.SCRIPT, {"ORDER": "A B", "A_OK": "1", "A_TRY": "0", "B_OK": "0", "B_TRY": "0"},
        lambda _slot, version: f"rauc install /media/{raucnode.bundle_name(version)}",
        None,
        lambda _slot: raucnode.MARK_GOOD,
        _with_rauc,
        raucnode.build_bundle,
        raucnode.bundle_name,
        raucnode.MARK_GOOD,
    )  # fmt: skip


PEERS = {
    peer.name: peer
    for peer in (
        _manageboot(),
        _shell("shell", "shell procedure, grubenv by rename, flushed", _RENAME),
        _shell("shell-editenv", "shell procedure, grub-editenv, flushed", _EDITENV),
        _shell("shell-unflushed", "shell procedure, grubenv by rename, nothing flushed", _RENAME, flushed=False),
        _rauc("rauc", "RAUC of Debian 12", Release.BOOKWORM),
        _rauc("rauc-trixie", "RAUC of Debian 13", Release.TRIXIE),
    )
}


def peer_life(cache: Cache, peer: Peer) -> Life:
    """Build the node of a peer, and say what will happen to it."""
    system = peer.prepare(cache, build_system(cache, release=peer.release), peer.release)
    slots = {version: build_slot_images(cache, system, version) for version in (FACTORY_VERSION, V2, V3)}
    files = {peer.file_name(version): peer.pack(cache, slots[version], peer.release) for version in (V2, V3)}
    disk = build_disk(
        cache,
        slots[FACTORY_VERSION],
        peer.block,
        release=peer.release,
        grub_partition=GrubPartition(peer.script),
    )
    versions = {version: {"boot": images.boot, "root": images.root} for version, images in slots.items()}
    return Life(
        peer.name, peer.title, GUESTOS.system, disk, build_media(cache, files), versions, _steps(peer),
        peer.release.value, ANY_UPDATER,
    )  # fmt: skip


def _steps(peer: Peer) -> list[Step]:
    """Two upgrades: the first is confirmed, the second falls back."""

    def install(slot: str, version: str) -> Callable[[VirtualMachine], None]:
        return do(peer.install(slot, version), timeout_s=INSTALL_DEADLINE_S)

    def boots(slot: str, action: Callable[[str], Callable[[VirtualMachine], None]]) -> Callable[[VirtualMachine], None]:
        return action(f"grep -q dfinity.system={slot} /proc/cmdline")

    def falls_back(machine: VirtualMachine) -> None:
        boots("B", reset)(machine)
        machine.check(peer.at_boot)

    def first(machine: VirtualMachine) -> None:
        machine.wait_until_up()
        machine.check(peer.at_boot)

    def commit(slot: str, trusted: str) -> list[Step]:
        if peer.commit is None:
            return []
        what = f"the environment block lets slot {slot} boot next, on trial"
        # Nobody promises that it can't be forgotten.
        return [Step(f"commit {slot}", what, do(peer.commit(slot)), "AB", "AB", trusted, trusted=trusted)]

    before = {slot: "AB" if peer.commit is None else slot for slot in "AB"}
    return [
        Step("first boot", "the node starts for the first time", first, "A", "A", trusted="A"),
        Step("install v2", "v2 is written into slot B", install("B", V2), before["A"], before["A"], "A", trusted="A"),
        *commit("B", "A"),
        Step("trial of v2", "the node reboots into v2", boots("B", reboot), "AB", "A", trusted="A"),
        Step("confirm", "v2 is confirmed", do(peer.confirm("B")), "AB", "B", "B", trusted="AB"),
        Step("install v3", "v3 is written into slot A", install("A", V3), before["B"], before["B"], "B", trusted="B"),
        *commit("A", "B"),
        Step("trial of v3", "the node reboots into v3, which nobody confirms", boots("A", reboot), "AB", "B",
             trusted="B"),
        Step("reset", "the node is reset, and goes back to v2", falls_back, "B", "B", trusted="B"),
    ]  # fmt: skip
