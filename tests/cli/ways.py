"""A way to each code word, through the command line: what a node has to be, and what is typed then."""

import fcntl
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from manageboot.disk.blockdev import BlockDevice
from support.grubemu import SHIPPED
from support.images import make_update, pack
from support.node import LoopNode, Node

Patch = pytest.MonkeyPatch
Way = Callable[[Node, Patch], list[str | Path]]
"""Makes a node what it has to be, and returns the command line that then fails."""

NOBODY = 65534
PARTITION = "MAJOR=254\nMINOR={0}\nDEVNAME=vda{0}\nDEVTYPE=partition\nPARTUUID=0\nPARTNAME={1}\n"


class BareNode(Node):
    """A node whose slots have no devices."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.grubenv.parent.mkdir()
        self.state.mkdir()
        self.set(A="/dev/none1", B="/dev/none3")

    def set(self, **more: str) -> None:
        """Write block, kernel command line and configuration: that of a node that is idle, but for what is given.

        Args:
            more: lines of the block, of `[boot]`, and devices of the slots' roots.
        """
        cycle = more.get("cycle", "stable")
        block = f"# GRUB Environment Block\nboot_alternative={more.get('alternative', 'A')}\nboot_cycle={cycle}\n"
        self.grubenv.write_bytes(block.encode().ljust(1024, b"#"))
        self.cmdline.write_text(f"dfinity.system={more.get('booted', 'A')}\n")
        slots = {"A": more.get("A", "/dev/none1"), "B": more.get("B", "/dev/none3")}
        self.config.write_text(
            f'[boot]\ngrubenv = "{self.grubenv}"\ncmdline = "{self.cmdline}"\nreboot_command = ["false"]\n'
            f'[state]\ndirectory = "{self.state}"\nlock = "{self.lock}"\n'
            + "".join(f'[slots.{slot}]\nroot = "{root}"\nboot = "/dev/none{slot}"\n' for slot, root in slots.items())
        )


def internal(node: Node, patch: Patch) -> list[str | Path]:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    patch.setattr("manageboot.config.load", fail)
    return ["current"]


def garbage(node: Node, patch: Patch) -> list[str | Path]:
    image = node.directory / "update-img.tar"
    image.write_bytes(b"no archive" * 1000)
    return ["inspect", image]


def cut_short(node: Node, patch: Patch) -> list[str | Path]:
    image = make_update(node.directory / "update", boot_size=100_000, root_size=200_000, name="update-img.tar")
    os.truncate(image, 150_000)
    return ["inspect", image]


def without_root(node: Node, patch: Patch) -> list[str | Path]:
    members = ("boot.img", "VERSION.TXT")
    return ["inspect", make_update(node.directory / "update", boot_size=100_000, root_size=100_000, members=members)]


def of_text(node: Node, patch: Patch) -> list[str | Path]:
    (node.directory / "boot.img").write_text("a page of some server\n" * 1000)
    (node.directory / "root.img").write_text("and another one\n" * 1000)
    return ["inspect", pack(node.directory, "boot.img", "root.img", name="update-img.tar")]


def damaged_block(node: Node, patch: Patch) -> list[str | Path]:
    node.grubenv.write_bytes(b"nothing of GRUB's".ljust(1024, b"#"))
    return ["next"]


def other_script(node: Node, patch: Patch) -> list[str | Path]:
    (node.grubenv.parent / "grub.cfg").write_text("set default=0\n")
    return ["bootloader", "check"]


def missing_modules(node: Node, patch: Patch) -> list[str | Path]:
    (node.grubenv.parent / "grub.cfg").write_bytes(SHIPPED.read_bytes())
    modules = node.grubenv.parent / "x86_64-efi"
    modules.mkdir()
    (modules / "command.lst").touch()
    (modules / "fat.mod").touch()
    return ["bootloader", "check"]


def no_disk(node: Node, patch: Patch) -> list[str | Path]:
    disk = node.directory / "disk.img"
    disk.write_bytes(bytes(1 << 20))
    return ["--disk", disk, "status"]


def no_block(node: Node, patch: Patch) -> list[str | Path]:
    node.grubenv.unlink()
    return ["next"]


def no_device(node: BareNode, patch: Patch) -> list[str | Path]:
    node.set(A="PARTLABEL=there-is-none")
    return ["current-root"]


def no_sysfs(node: BareNode, patch: Patch) -> list[str | Path]:
    node.set(A="PARTLABEL=A_root")
    patch.setattr("manageboot.disk.sysfs.NAMES", str(node.directory / "sys"))
    return ["current-root"]


def partitions(node: Node, patch: Patch, *labels: str) -> None:
    """Make up a machine with these partitions, and no udev."""
    for number, label in enumerate(labels):
        directory = node.directory / "sys" / f"vda{number}"
        directory.mkdir(parents=True)
        (directory / "uevent").write_text(PARTITION.format(number, label))
        (directory / "dev").write_text(f"254:{number}\n")
    patch.setattr("manageboot.disk.sysfs.NAMES", str(node.directory / "sys"))
    patch.setattr("manageboot.disk.sysfs.NUMBERS", str(node.directory / "no-numbers"))
    patch.setattr("manageboot.disk.devices._UDEV_DATABASE", str(node.directory / "there-is-no-udev"))


def same_identifiers(node: BareNode, patch: Patch) -> list[str | Path]:
    node.set(A="PARTLABEL=A_root")
    partitions(node, patch, "A_root", "A_root")
    return ["current-root"]


def scattered(node: BareNode, patch: Patch) -> list[str | Path]:
    node.set(B="PARTLABEL=B_root")
    node.config.write_text(node.config.read_text().replace('"/dev/noneB"', '"PARTLABEL=B_boot"'))
    partitions(node, patch, "B_root", "B_boot")
    # Each is the partition of a disk of its own.
    patch.setattr("manageboot.disk.devices._disks_of", lambda name: {f"disk-of-{name}"})
    return ["upgrade-install", update_of(node)]


def update_of(node: Node) -> Path:
    return make_update(node.directory / "update", boot_size=100_000, root_size=200_000)


def pending(node: BareNode, patch: Patch) -> list[str | Path]:
    node.set(alternative="B", cycle="first_boot")
    return ["upgrade-install", update_of(node)]


def on_trial(node: BareNode, patch: Patch) -> list[str | Path]:
    node.set(cycle="failsafe_check")
    return ["upgrade-install", update_of(node)]


def conflict(node: BareNode, patch: Patch) -> list[str | Path]:
    node.set(booted="B")
    return ["upgrade-commit"]


def no_booted_slot(node: BareNode, patch: Patch) -> list[str | Path]:
    node.cmdline.write_text("ro quiet\n")
    return ["current"]


def no_reboot(node: BareNode, patch: Patch) -> list[str | Path]:
    node.set(cycle="failsafe_check")
    return ["rollback"]


def lock_is_a_directory(node: Node, patch: Patch) -> list[str | Path]:
    node.lock.mkdir(parents=True)
    return ["upgrade-cancel"]


def bad_setting(node: Node, patch: Patch) -> list[str | Path]:
    node.config.write_text("[boot]\ntries = 6\n")
    return ["current"]


def idle(*words: str) -> Way:
    """Fail on a node that is idle."""
    return lambda *_: list(words)


PLAIN: dict[str, Way] = {
    "INTERNAL": internal,
    "USAGE": idle("bogus"),
    "IMAGE_FORMAT": garbage,
    "IMAGE_TRUNCATED": cut_short,
    "IMAGE_MEMBER": without_root,
    "IMAGE_CONTENT": of_text,
    "BLOCK_DAMAGED": damaged_block,
    "UNSOUND": idle("doctor"),
    "GRUB_CFG": other_script,
    "GRUB_MODULES": missing_modules,
    "PARTITION_TABLE": no_disk,
    "NO_INPUT": idle("inspect", "/nothing/update-img.tar"),
    "NO_BLOCK": no_block,
    "NO_DEVICE": no_device,
    "DEVICES_UNKNOWN": no_sysfs,
    "DEVICE_AMBIGUOUS": same_identifiers,
    "DEVICES_SCATTERED": scattered,
    "COMMIT_PENDING": pending,
    "ON_TRIAL": on_trial,
    "NOT_ON_TRIAL": idle("rollback", "--because", "unhealthy"),
    "CONFLICT": conflict,
    "NO_BOOTED_SLOT": no_booted_slot,
    "NOTHING_INSTALLED": idle("upgrade-commit"),
    "NO_WAY_BACK": idle("rollback"),
    "ARMED_NOT_REBOOTED": no_reboot,
    "CANNOT_CREATE": lock_is_a_directory,
    "CONFIG": bad_setting,
}


def too_large(node: Node, patch: Patch) -> list[str | Path]:
    return ["upgrade-install", make_update(node.directory / "large", boot_size=9 << 20, root_size=200_000)]


def wrong_digest(node: Node, patch: Patch) -> list[str | Path]:
    return ["upgrade-install", "--sha256", "0" * 64, update_of(node)]


def filled_block(node: Node, patch: Patch) -> list[str | Path]:
    lines = "# GRUB Environment Block\nboot_alternative=A\nboot_cycle=stable\nforeign="
    node.grubenv.write_bytes(f"{lines.ljust(509, 'x')}\n##".encode())
    return ["upgrade-install", update_of(node)]


def crowded_block(node: Node, patch: Patch) -> list[str | Path]:
    lines = f"foreign={'x' * 470}\nboot_alternative=A\nboot_cycle=stable\nother={'y' * 455}\n"
    node.grubenv.write_bytes(f"# GRUB Environment Block\n{lines}".encode().ljust(1024, b"#"))
    return ["upgrade-install", update_of(node)]


def forgetful_device(node: LoopNode, patch: Patch) -> list[str | Path]:
    """After each flush, what lies below the device is another thing."""
    flush = BlockDevice.flush

    def flush_and_forget(device: BlockDevice) -> None:
        flush(device)
        with (node.directory / "B_root").open("r+b") as file:
            file.seek(5000)
            file.write(b"something else")

    patch.setattr(BlockDevice, "flush", flush_and_forget)
    return ["upgrade-install", update_of(node)]


DEVICES: dict[str, Way] = {
    "IMAGE_TOO_LARGE": too_large,
    "IMAGE_SHA256": wrong_digest,
    "NO_ROOM": filled_block,
    "NOT_ATOMIC": crowded_block,
    "READ_BACK": forgetful_device,
}

Held = Callable[[Node, Patch], AbstractContextManager[list[str | Path]]]


@contextmanager
def locked(node: Node, patch: Patch) -> Iterator[list[str | Path]]:
    node.lock.parent.mkdir()
    with node.lock.open("w") as file:
        file.write("1 upgrade-install\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield ["upgrade-install", update_of(node)]


@contextmanager
def not_permitted(node: Node, patch: Patch) -> Iterator[list[str | Path]]:
    node.config.chmod(0)
    user = os.geteuid()
    os.seteuid(NOBODY if user == 0 else user)
    try:
        yield ["current"]
    finally:
        os.seteuid(user)


@contextmanager
def no_descriptors(node: Node, patch: Patch) -> Iterator[list[str | Path]]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    # A run raises its limits to what it needs.
    patch.setattr("manageboot.system.inherited._LEAST_FILES", 0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield ["current"]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@contextmanager
def no_room_for_the_answer(node: Node, patch: Patch) -> Iterator[list[str | Path]]:
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    patch.setattr("sys.stdout", full)
    try:
        yield ["current"]
    finally:
        with suppress(OSError):
            full.close()


HELD: dict[str, Held] = {
    "LOCKED": locked,
    "NOT_PERMITTED": not_permitted,
    "NO_RESOURCES": no_descriptors,
    "IO_ERROR": no_room_for_the_answer,
}
"""What fails only for as long as something is so."""
