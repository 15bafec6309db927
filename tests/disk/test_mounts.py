"""The kernel's tables of mounts and swap space, with all that people and programs put there."""

import os
import random
from pathlib import Path

import pytest

from manageboot.disk import mounts

ROOT = b"22 1 254:2 / / rw,relatime shared:1 - ext4 /dev/root rw,discard\n"


def parsed(directory: Path, text: bytes) -> list[mounts.Mount]:
    table = directory / "mountinfo"
    table.write_bytes(text)
    return list(mounts.read(str(table)))


def test_a_line_of_the_kernels(tmp_path: Path):
    [mount] = parsed(tmp_path, ROOT)
    assert mount == (os.makedev(254, 2), "/dev/root", "/", {"rw", "relatime", "discard"})


@pytest.mark.parametrize(
    ("line", "source", "point"),
    [
        (rb"1 1 7:0 / /with\040a\011b\012c\134d\043 rw - ext4 /dev/loop0 rw", "/dev/loop0", "/with a\tb\nc\\d#"),
        (b"1 1 7:0 / /no\xff\xfeutf8 rw - ext4 /dev/loop0 rw", "/dev/loop0", "/no\udcff\udcfeutf8"),
        (b"1 1 7:0 / /cr\rand\x0bvt rw - ext4 /dev/loop0 rw", "/dev/loop0", "/cr\rand\x0bvt"),
        (b"1 1 7:0 / - rw - ext4 - rw", "-", "-"),
        (b"1 1 0:35 /sub /bind rw shared:1 master:2 propagate_from:3 unbindable - btrfs /dev/x rw", "/dev/x", "/bind"),
        (rb"1 1 7:0 /gone//deleted /bind rw - ext4 /dev/loop0\040(deleted) rw", "/dev/loop0 (deleted)", "/bind"),
        (b"1 1 0:44 / /nothing rw - tmpfs  rw", "", "/nothing"),
    ],
)  # fmt: skip
def test_names_that_anybody_may_choose(tmp_path: Path, line: bytes, source: str, point: str):
    [mount] = parsed(tmp_path, line + b"\n")
    assert (mount.source, mount.point) == (source, point)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"1 1 7:0",
        b"1 1 7:0 / /x rw ext4 /dev/loop0 rw",
        b"1 1 7:0 / /x rw - ext4",
        b"1 1 7 / /x rw - ext4 /dev/loop0 rw",
        b"1 1 7:0:1 / /x rw - ext4 /dev/loop0 rw",
        b"1 1 -7:0 / /x rw - ext4 /dev/loop0 rw",
        b"1 1 7:" + b"9" * 5000 + b" / /x rw - ext4 /dev/loop0 rw",
        b"1 1 7:0 / /" + b"x" * (64 << 10) + b" rw - ext4 /dev/loop0 rw",
    ],
)
def test_a_line_that_cannot_be_read_hides_no_other(tmp_path: Path, line: bytes):
    found = parsed(tmp_path, ROOT + line + b"\n" + ROOT)
    assert [mount.point for mount in found] == ["/", "/"]


def test_mutations_of_a_table_are_read_or_passed_over(tmp_path: Path):
    dice = random.Random(12)
    lines = ROOT + b"".join(b"%d 22 0:%d / /proc/%d rw master:7 - proc none rw\n" % (n, n, n) for n in range(23, 80))
    for _ in range(500):
        text = bytearray(lines)
        for _ in range(dice.randrange(1, 8)):
            at = dice.randrange(len(text))
            text[at : at + dice.randrange(3)] = dice.choice([b" ", b"\n", b"\\0", b"\\777", b"\xff", b"-", b":", b"\0"])
        for mount in parsed(tmp_path, bytes(text)):
            assert mount.number >= 0
            assert isinstance(mount.point, str)
        mounts.is_swap(1 << 40, str(tmp_path / "mountinfo"))


def test_where_it_is_mounted_over_and_over():
    number = os.stat("/").st_dev
    found = mounts.points(number)
    assert "/" in found or os.major(number) == 0  # an overlay has no device of its own


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{path}                              partition\t1048572\t\t0\t\t-2", True),
        ("{path}\\040(deleted)                partition\t1048572\t\t0\t\t-2", True),
        ("{path}                              file\t\t1048572\t\t0\t\t-2", False),
        ("/dev/nothing\\040(deleted)          partition\t1048572\t\t0\t\t-2", False),
        ("partition", False),
        ("\\000 partition", False),
        ("", False),
    ],
)
def test_swap_space(tmp_path: Path, line: str, expected: bool):
    # Any device node will do: what is asked is whether the table names it.
    path = "/dev/null"
    table = tmp_path / "swaps"
    table.write_text("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" + line.format(path=path) + "\n")
    assert mounts.is_swap(os.stat(path).st_rdev, str(table)) is expected
