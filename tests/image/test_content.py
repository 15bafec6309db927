"""What an image is, from its first bytes: what can't be in a slot is named, and nothing else is."""

import random
import subprocess
from pathlib import Path

import pytest

from manageboot.image import content
from support.contents import EXT4, FOREIGN, KIB, MIB, PASSING, at, mbr


def looked_at(data: bytes) -> bytes:
    return data[: content.HEAD_BYTES]


@pytest.mark.parametrize("name", FOREIGN)
def test_what_can_not_be_in_a_slot_is_named(name: str):
    what, data = FOREIGN[name]
    found = content.foreign(looked_at(data))
    assert found is not None
    assert found.what == what
    assert content.describe(looked_at(data)) == what
    assert found.remedy


@pytest.mark.parametrize("name", PASSING)
def test_what_may_be_in_a_slot_passes(name: str):
    what, data = PASSING[name]
    assert content.foreign(looked_at(data)) is None
    assert content.describe(looked_at(data)) == what


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_system_behind_it_makes_it_pass(name: str):
    """The first 1,024 bytes of ext are the boot loader's, whatever they look like."""
    _what, data = FOREIGN[name]
    assert content.foreign(data[:1024].ljust(1024, b"\0") + EXT4[1024:]) is None


@pytest.mark.parametrize("size", [1, 2, 4, 100, 511, 512, 1023, 1100, 2047, 65537])
def test_a_short_head_is_no_error(size: int):
    for _what, data in [*FOREIGN.values(), *PASSING.values()]:
        content.describe(data[:size])
        content.beginning(data[:size])


def test_what_is_random_passes():
    dice = random.Random(12)
    for _ in range(3000):
        assert content.foreign(dice.randbytes(4096)) is None
        sector = bytearray(dice.randbytes(4096))
        sector[510:512] = b"\x55\xaa"
        assert content.foreign(bytes(sector)) is None


@pytest.mark.parametrize(
    "entry",
    [(0x55, 0x83, 2048, 65536), (0x80, 0, 2048, 65536), (0, 0x83, 0, 65536), (0, 0x83, 2048, 0)],
    ids=["neither active nor not", "no type", "no begin", "no size"],
)
def test_what_can_not_be_a_partition_is_no_partition_table(entry: tuple[int, int, int, int]):
    assert content.foreign(at({0: mbr((0, 0x83, 2048, 65536))})) is not None
    assert content.foreign(at({0: mbr((0, 0x83, 2048, 65536), entry)})) is None


def run(command: str, path: Path) -> None:
    subprocess.run(["sh", "-euc", command, "sh", path], check=True, capture_output=True, cwd=path.parent)


# By the tools that make them; the path is $1.
MADE = {
    "an ext4 file system": "truncate -s 32M $1; mke2fs -q -F -t ext4 $1",
    "an ext3 file system": "truncate -s 32M $1; mke2fs -q -F -t ext3 $1",
    # Of revision 0. From e2fsprogs 1.47.1 on, the option has another name.
    "an ext2 file system": "truncate -s 32M $1; mke2fs -q -F -t ext2 -r 0 $1 || mke2fs -q -F -t ext2 -E revision=0 $1",
    "a FAT file system": "truncate -s 32M $1; mkfs.vfat $1",
    "a LUKS volume": "truncate -s 32M $1; echo p | cryptsetup -q luksFormat --pbkdf pbkdf2 "
    "--pbkdf-force-iterations 1000 $1 -",
    "a dm-verity hash tree": "truncate -s 1M data; truncate -s 1M $1; veritysetup format data $1",
    "swap space": "truncate -s 1M $1; mkswap $1",
    "zstd-compressed": "seq 99999 | zstd -q -o $1",
    "gzip-compressed": "seq 99999 | gzip >$1",
    "xz-compressed": "seq 99999 | xz >$1",
    "bzip2-compressed": "seq 99999 | bzip2 >$1",
    "a tar archive": "tar -cf $1 -C /etc hostname",
    "a qcow2 disk image": "qemu-img create -f qcow2 $1 8M",
    "a VMDK disk image": "qemu-img create -f vmdk $1 8M",
    "the description of a VMDK disk image": "qemu-img create -f vmdk -o subformat=twoGbMaxExtentSparse $1 8M",
    "a VHD disk image": "qemu-img create -f vpc $1 8M",
    "a VHDX disk image": "qemu-img create -f vhdx $1 8M",
    "a VDI disk image": "qemu-img create -f vdi $1 8M",
    "a whole disk with a GPT": "truncate -s 8M $1; sgdisk -n 1:0:0 $1",
    "an ELF program": "cp /bin/true $1",
}
SMALL_CLUSTERS = {
    "FAT12": "truncate -s 1M $1; mkfs.vfat -F 12 $1",
    "FAT32": "truncate -s 64M $1; mkfs.vfat -F 32 $1",
    "FAT, 4096-byte sectors": "truncate -s 64M $1; mkfs.vfat -S 4096 $1",
    "FAT with a boot sector of GRUB's code": "truncate -s 32M $1; mkfs.vfat $1; "
    "dd if=/usr/lib/grub/i386-pc/boot.img of=$1 bs=1 skip=90 seek=90 count=350 conv=notrunc",
}


@pytest.mark.parametrize("what", MADE)
def test_what_the_tools_make_is_named(what: str, tmp_path: Path):
    run(MADE[what], tmp_path / "image")
    head = looked_at((tmp_path / "image").read_bytes())
    assert content.describe(head) == what
    good = what.endswith(("file system", "volume", "hash tree", "space"))
    assert (content.foreign(head) is None) == good


@pytest.mark.parametrize("form", SMALL_CLUSTERS)
def test_no_fat_is_taken_for_a_disk(form: str, tmp_path: Path):
    run(SMALL_CLUSTERS[form], tmp_path / "image")
    assert content.describe(looked_at((tmp_path / "image").read_bytes())) == "a FAT file system"


def test_a_disk_that_grub_boots_is_no_file_system(tmp_path: Path):
    """GRUB's boot sector begins with a jump, as that of a FAT does."""
    code = Path("/usr/lib/grub/i386-pc/boot.img").read_bytes()[:440]
    assert code[0] == 0xEB
    disk = at({0: mbr((0x80, 0x83, 2048, 65536), code=code), 512: random.Random(3).randbytes(31 * KIB)}, MIB)
    assert content.describe(looked_at(disk)) == "a whole disk with an MBR"


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"hello\n\tworld", "is text that begins with 'hello world'"),
        (b"x y" * 60, f"is text that begins with '{('x y' * 60)[:40]}...'"),
        (b"\xef\xbb\xbf{}\n", "is JSON that begins with '{}'"),
        (b"\x80\x81\x82", "begins with 80 81 82"),
        (bytes(600), "is zeros"),
        (EXT4, "is an ext4 file system"),
    ],
)
def test_how_something_begins(head: bytes, text: str):
    assert content.beginning(head) == text
