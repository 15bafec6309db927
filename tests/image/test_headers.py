"""Headers as writers other than GNU tar leave them: what GNU tar takes, we take, and read the same out of it."""

import subprocess
from pathlib import Path

import pytest

from image.test_differential import expected
from manageboot.image import open_image
from support.archives import END, GNU, POSIX, V7, digests, header, member, octal, old_gnu, pad, pax, record, records

BOOT = member("boot.img", b"boot" * 300)
ROOT = member("root.img", b"root" * 900)
NUL_SIZE = bytes(12)


def padded_records(*pairs: tuple[str, str | int], by: int = 40) -> bytes:
    """An extended header with zeros inside its size."""
    return pax(records(*pairs) + bytes(by))


TAKEN = {
    # The magic: GNU tar compares six bytes.
    **{
        f"magic with {tail!r}": BOOT + member("root.img", b"root", magic=b"ustar\0" + tail)
        for tail in (b"00", b"\0\0", b" \0", b"  ", b"0\0", b"11", b"\xff\xff")
    },
    **{
        f"no magic, and a version of {tail!r}": BOOT + member("root.img", b"root", magic=bytes(6) + tail)
        for tail in (b"00", b"  ", b"\xff\xff")
    },
    "magic with a prefix": BOOT + member("root.img", b"x", magic=b"ustar\0 \0", at_345=b"./."),
    # As IC-OS's own tool writes: each member is sparse, also the small one without a hole.
    "every member sparse": old_gnu("boot.img", 9000, b"b" * 1024, [(0, 512), (4096, 512), (9000, 0)])
    + old_gnu("root.img", 5000, b"r" * 904, [(4096, 904)])
    + old_gnu("VERSION.TXT", 6, b"1.2.3\n", [(0, 6)]),
    # Numbers: an empty one is zero, and one NUL before the digits is none of their end.
    "no size of a directory": header("out/", NUL_SIZE, b"5") + BOOT + ROOT,
    "no size of an old directory": header("out/", NUL_SIZE, b"\0", V7) + BOOT + ROOT,
    "no size of an empty file": header("empty", NUL_SIZE) + BOOT + ROOT,
    "size after a NUL": BOOT + header("root.img", b"\0" + octal(3, 11)) + pad(b"abc"),
    "size of digits alone": BOOT + header("root.img", b"%012o" % 3) + pad(b"abc"),
    "size after blanks": BOOT + header("root.img", b"         3 \0") + pad(b"abc"),
    "size before what was left there": BOOT + header("root.img", b"3\0junk\xff") + pad(b"abc"),
    "size of many digits before it": BOOT + header("root.img", b"0000003\x008 9!") + pad(b"abc"),
    "no other number at all": BOOT + header("root.img", 3, at_100=bytes(24), at_136=bytes(12)) + pad(b"abc"),
    # Kinds
    "volume label": header("IC-OS 7", NUL_SIZE, b"V", GNU) + BOOT + ROOT,
    "volume label with a size": header("IC-OS/7", octal(0), b"V", GNU) + BOOT + ROOT,
    "directory /": header("/", 0, b"5") + BOOT + ROOT,
    "directory //./": header("//./", 0, b"5", GNU) + BOOT + ROOT,
    "directory ./": header("./", 0, b"5") + BOOT + ROOT,
    # Extended headers
    "extended header at the end": BOOT + ROOT + pax(record("mtime", 1)),
    "long name at the end": BOOT + ROOT + member("././@LongLink", b"root.img\0", b"L", GNU),
    "extended header of Solaris": BOOT + pax(record("path", "root.img"), b"X") + member("x", b"root"),
    "NULs after the records": BOOT + padded_records(("path", "root.img")) + member("x", b"root"),
    "a block of NULs after the records": BOOT + padded_records(("path", "root.img"), by=512) + member("x", b"root"),
    "NULs and no records": BOOT + pax(bytes(100)) + ROOT,
    "NULs in a global header": pax(record("comment", "x") + bytes(70), b"g") + BOOT + ROOT,
    "path twice": BOOT + pax(records(("path", "other.img"), ("path", "root.img"))) + member("x", b"root"),
    "path twice, the same": BOOT + pax(record("path", "root.img") * 2) + member("x", b"root"),
    "size twice": BOOT + pax(records(("size", 7), ("size", 3))) + header("root.img", 9) + pad(b"abc"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_gnu_tar_takes_is_read_alike(name: str, tmp_path: Path):
    archive = TAKEN[name] + END
    path = tmp_path / "image.tar"
    path.write_bytes(archive)
    with open_image([str(path)]) as image:
        found = digests(image)
        skipped = set(image.ignored)
    there = expected(archive, tmp_path / "out")
    assert found == {name: digest for name, digest in there.items() if name not in skipped}
    assert set(found) - {"VERSION.TXT"} == {"boot.img", "root.img"}


def test_a_directory_may_have_no_size_in_blanks(tmp_path: Path):
    """Here GNU tar is stricter: it takes NULs for an empty field, and blanks for none."""
    path = tmp_path / "image.tar"
    path.write_bytes(header("out/", b" " * 12, b"5") + BOOT + ROOT + END)
    with open_image([str(path)]) as image:
        assert set(digests(image)) == {"boot.img", "root.img"}


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_a_volume_label_of_gnu_tar_is_told_and_passed_over(form: str, tmp_path: Path):
    for name in ("boot.img", "root.img"):
        (tmp_path / name).write_bytes(name.encode() * 700)
    command = ["tar", f"--format={form}", "-V", "IC-OS\n7", "-C", tmp_path, "-cf", "-", "boot.img", "root.img"]
    archive = subprocess.run(command, check=True, stdout=-1).stdout
    path = tmp_path / "image.tar"
    path.write_bytes(archive)
    with open_image([str(path)]) as image:
        assert digests(image) == expected(archive, tmp_path / "out")
        # pax has it in a global header, as a remark of its own.
        assert image.remarks == (["member IC-OS\\n7 is a volume label and was skipped"] if form == "gnu" else [])


def test_a_real_volume_label_has_no_size(tmp_path: Path):
    """What the rows above say of GNU tar's labels is so."""
    command = ["tar", "--format=gnu", "-V", "label", "-C", tmp_path, "-cf", "-", "-T", "/dev/null"]
    label = subprocess.run(command, check=True, stdout=-1).stdout[:512]
    assert (label[124:136], label[156:157]) == (NUL_SIZE, b"V")


def test_a_sparse_name_goes_before_a_path_in_any_order(tmp_path: Path):
    sparse = [("GNU.sparse.size", 512), ("GNU.sparse.numblocks", 1), ("GNU.sparse.map", "0,512")]
    path = tmp_path / "image.tar"
    for names in ([("GNU.sparse.name", "root.img"), ("path", "x")], [("path", "x"), ("GNU.sparse.name", "root.img")]):
        archive = BOOT + pax(records(*sparse, *names)) + member("y", b"r" * 512, magic=POSIX) + END
        path.write_bytes(archive)
        with open_image([str(path)]) as image:
            assert digests(image) == expected(archive, tmp_path / "out")
