"""A release as an update image: what reaches the decompressor and the devices was named before, whatever is damaged."""

import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest

from manageboot import errors
from manageboot.channel.directory import Directory
from manageboot.channel.places import listed
from manageboot.channel.refusals import NetworkError
from manageboot.channel.source import ReleaseImage
from manageboot.disk.digest import WINDOW_BYTES
from manageboot.image import VERSION
from manageboot.install.imagewriter import ImageWriter, Window
from manageboot.install.transfer import Transfer
from manageboot.release import description, index
from support.memorydisk import Disk, writers_of
from support.releases import Small, small_release, watched_decompressor

FUZZ_EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
ROLES = ("boot", "root")


def images() -> dict[str, bytes]:
    dice = random.Random(1)
    boot = dice.randbytes(WINDOW_BYTES + 700)
    root = dice.randbytes(5000) + bytes(WINDOW_BYTES * 2) + dice.randbytes(WINDOW_BYTES) + b"end"
    return {"boot": boot, "root": root}


IMAGES = images()
RELEASE = small_release(IMAGES, version="1.1")


@contextmanager
def watched_windows(release: Small) -> Iterator[list[tuple[str, int]]]:
    """Write down the windows that are written though the index of a release does not name them."""
    good = index.Index(release.idx)
    named = {window.sha256 for number in range(len(good.images)) for window in good.windows(number)}
    foreign: list[tuple[str, int]] = []
    real = ImageWriter.write

    def write(self: ImageWriter, window: Window, *, skip_identical: bool) -> None:
        if window.buffer is not None:
            sha256 = hashlib.sha256(window.buffer[: window.length]).digest()
            if sha256 not in named:
                foreign.append((sha256.hex(), window.offset))
        real(self, window, skip_identical=skip_identical)

    with mock.patch.object(ImageWriter, "write", write):
        yield foreign


def bring(directory: Path) -> tuple[dict[str, Disk], Transfer]:
    """Bring a release, whose release.json somebody vouches for, to disks in memory."""
    release = description.parse(RELEASE.description)
    disks = {f"{role}.img": Disk() for role in ROLES}
    with ReleaseImage(Directory(str(directory)), "", release, "0" * 64, list(disks)) as update:
        writers = writers_of(disks)
        transfer = Transfer(update, writers, skip_identical=False, verify=False)
        transfer.run(update.members(), lambda: None)
        assert update.bytes_read >= update.bytes_total
    return disks, transfer


def test_the_images_come_byte_for_byte(tmp_path: Path):
    RELEASE.write(tmp_path / "1.1")
    with watched_decompressor() as seen, watched_windows(RELEASE) as foreign:
        disks, transfer = bring(tmp_path / "1.1")
    for role, image in IMAGES.items():
        assert disks[f"{role}.img"].content.startswith(image)
    assert transfer.version.text == "1.1"
    assert foreign == []
    assert seen.unverified({frame.sha256 for frame in index.Index(RELEASE.idx).frames()}) == 0
    assert seen.bytes > 0


def test_the_head_can_be_looked_at_first(tmp_path: Path):
    RELEASE.write(tmp_path / "1.1")
    release = description.parse(RELEASE.description)
    with ReleaseImage(Directory(str(tmp_path / "1.1")), "", release, "", ["boot.img", "root.img"]) as update:
        for member, image in zip(update.known, IMAGES.values(), strict=True):
            assert member.head == image[: len(member.head)]
        for member in update.members():
            content = bytearray(member.size)
            member.readinto(memoryview(content))
            expected = b"1.1" if member.name == VERSION else IMAGES[member.name.removesuffix(".img")]
            assert content == expected


def test_nothing_that_is_damaged_gets_anywhere(tmp_path: Path):
    RELEASE.write(tmp_path / "1.1")
    dice = random.Random(0 if FUZZ_EXAMPLES is None else None)
    named = {frame.sha256 for frame in index.Index(RELEASE.idx).frames()}
    for _ in range(int(FUZZ_EXAMPLES or 40)):
        damaged = RELEASE._replace(**{
            name: damage(dice, getattr(RELEASE, name)) for name in dice.sample(("idx", "pack"), dice.randrange(1, 3))
        })  # fmt: skip
        (tmp_path / "1.1" / "release.idx").write_bytes(damaged.idx)
        (tmp_path / "1.1" / "full.pack").write_bytes(damaged.pack)
        with watched_decompressor() as seen, watched_windows(RELEASE) as foreign:
            if (damaged.idx, damaged.pack[: len(RELEASE.pack)]) == (RELEASE.idx, RELEASE.pack):
                bring(tmp_path / "1.1")
            else:
                with pytest.raises(errors.ReleaseDigestError):
                    bring(tmp_path / "1.1")
        assert (foreign, seen.unverified(named)) == ([], 0)


def damage(dice: random.Random, content: bytes) -> bytes:
    at = dice.randrange(len(content))
    return dice.choice([
        content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :],
        content[:at],
        content[:at] + dice.randbytes(dice.randrange(1, 99)) + content[at:],
        content + b"more",
    ])  # fmt: skip


def test_a_release_of_other_images_is_refused(tmp_path: Path):
    RELEASE.write(tmp_path / "1.1")
    release = description.parse(RELEASE.description)
    with pytest.raises(errors.ImageMemberError, match=r"and root\.img are needed"):
        ReleaseImage(Directory(str(tmp_path / "1.1")), "", release, "", ["root.img"])


@pytest.mark.parametrize("mirror", ["/a b", "file:///a%20b", "file://localhost/a%20b"])
def test_a_mirror_is_a_directory(mirror: str):
    assert [place.name for place in listed([mirror], {})] == ["/a b"]


@pytest.mark.parametrize(
    ("mirror", "kind"),
    [
        ("ftp://example.org/", NetworkError),
        ("nfs://example.org/releases", NetworkError),
        ("file://example.org/a", errors.ConfigError),
        ("releases", errors.ConfigError),
        ("ftp://[example.org/", errors.ConfigError),
        ("/a\0b", errors.ConfigError),
        ("file:///a%00b", errors.ConfigError),
    ],
)
def test_another_mirror_is_refused(mirror: str, kind: type[errors.ManagebootError]):
    with pytest.raises(kind, match="cannot read releases from"):
        listed([mirror], {})


def test_all_urls_are_one_place_where_the_first_of_them_is():
    mirrors = ["/stick", "https://one.example/r", "/disk", "http://two.example/"]
    assert [place.name for place in listed(mirrors, {})] == ["/stick", "https://one.example/r", "/disk"]
