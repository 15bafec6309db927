"""What an installation says of a guest that a host can't boot directly; it is installed all the same."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from manageboot.disk.blockdev import BlockDevice
from manageboot.install import directboot
from support.images import MIB, make_image, pack
from support.loop import loop_device, run
from support.node import LoopNode

pytestmark = pytest.mark.devices

ALL = ("vmlinuz", "initrd.img", "boot_args")
FOR_EVER = "a host that boots this guest directly would try it for ever"
SAID = {
    (): f"has no vmlinuz and no initrd.img: {FOR_EVER}",
    ("vmlinuz", "boot_args"): f"has no initrd.img: {FOR_EVER}",
    ("initrd.img",): f"has no vmlinuz: {FOR_EVER}",
    ("vmlinuz", "initrd.img"): "has no boot_args: no host can boot this guest directly, only GRUB can",
    ALL: None,
    (*ALL, "OVMF_SEV.fd", *(f"{number:0200}" for number in range(300))): None,
}


def boot_image(directory: Path, names: tuple[str, ...], *options: str) -> Path:
    content = directory / "content"
    content.mkdir(parents=True)
    for name in names:
        (content / name).write_text(name)
    image = directory / "boot.img"
    run("mke2fs", "-q", "-t", "ext4", *options, "-d", content, image, "4096k")
    return image


@pytest.fixture(params=[512, 4096])
def sector_size(request: pytest.FixtureRequest) -> Iterator[int]:
    yield request.param


@pytest.mark.parametrize("names", SAID, ids=len)
@pytest.mark.parametrize("options", [(), ("-b", "1024"), ("-I", "128", "-O", "^extent,^64bit,^metadata_csum")])
def test_what_is_missing_is_named(tmp_path: Path, names: tuple[str, ...], options: tuple[str, ...], sector_size: int):
    with (
        loop_device(boot_image(tmp_path, names, *options), sector_size=sector_size) as path,
        BlockDevice(path, shared=True) as device,
    ):
        assert directboot.lacks(device) == SAID[names]


def test_what_makes_no_sense_is_no_reason_to_fail(tmp_path: Path):
    """Any damage ends in an answer, soon."""
    image = boot_image(tmp_path, ALL)
    whole = image.read_bytes()
    chance = random.Random(1)
    answers = set()
    with loop_device(image) as path:
        for _ in range(200):
            damaged = bytearray(whole)
            for _ in range(8):
                damaged[chance.randrange(1024, 64 << 10)] = chance.randrange(256)
            with open(path, "r+b") as file:
                file.write(damaged)
            with BlockDevice(path, shared=True) as device:
                answers.add(directboot.lacks(device))
    assert None in answers


@pytest.mark.parametrize(("profile", "warns"), [("guestos", True), ("hostos", False), ("custom", False)])
def test_the_installation_tells_it_and_is_whole(node: LoopNode, tmp_path: Path, profile: str, *, warns: bool):
    boot_image(tmp_path / "update", ("vmlinuz", "initrd.img"))
    make_image(tmp_path / "update" / "root.img", MIB, seed=1)
    image = pack(tmp_path / "update", "boot.img", "root.img")
    node.config.write_text(node.config.read_text().replace('profile = "custom"', f'profile = "{profile}"'))
    done = node.run("upgrade-install", image)
    assert done.returncode == 0
    line = (
        "manageboot: warning: the boot of slot B has no boot_args: no host can boot this guest directly, only GRUB can"
    )
    assert (line in done.stderr.splitlines()) is warns
    assert node.record("B") == "installed"


def test_a_guest_whose_boot_is_no_file_system_is_told_of(node: LoopNode, tmp_path: Path):
    make_image(tmp_path / "boot.img", MIB, seed=2)
    make_image(tmp_path / "root.img", MIB, seed=1)
    done = node.run("guestos", "upgrade-install", pack(tmp_path, "boot.img", "root.img"))
    assert done.returncode == 0
    assert "the boot of slot B is no ext4 file system" in done.stderr
