"""Whose disk it is, as the files in one directory tell: whatever they are, nobody reads them, or waits for one."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from manageboot import config
from manageboot.boot import ownership
from manageboot.boot.ownership import Ownership

MAKE: dict[str, Callable[[Path], object]] = {
    "file": Path.touch,
    "directory": Path.mkdir,
    "fifo": os.mkfifo,
    "not UTF-8": lambda path: path.with_name(os.fsdecode(b"\xff\xfe")).touch(),
    # The look for the file fails, and the list of the directory has it: as if it was made in between.
    "link to nothing": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize(
    ("name", "kind", "whose"),
    [
        ("default", "file", Ownership.OWN),
        ("default", "directory", Ownership.OWN),
        ("default", "fifo", Ownership.OWN),
        ("default", "link to nothing", Ownership.OWN),
        ("upgrade", "file", Ownership.BORROWED),
        ("upgrade", "directory", Ownership.BORROWED),
        ("upgrade", "fifo", Ownership.BORROWED),
        ("upgrade", "link to nothing", Ownership.BORROWED),
        ("upgrade", "not UTF-8", Ownership.BORROWED),
        # On its way to its name.
        (".default.x7Kq", "file", Ownership.UNKNOWN),
    ],
)
def test_the_name_alone_decides(tmp_path: Path, name: str, kind: str, whose: Ownership):
    MAKE[kind](tmp_path / name)
    assert owner(str(tmp_path / "default")) is whose


@pytest.mark.parametrize("where", ["empty", "absent", "a file"])
def test_without_such_a_directory_nothing_is_known(tmp_path: Path, where: str):
    if where == "empty":
        (tmp_path / where).mkdir()
    elif where == "a file":
        (tmp_path / where).touch()
    assert owner(str(tmp_path / where / "default")) is Ownership.UNKNOWN


def test_a_disk_that_is_not_shared_is_ones_own():
    assert owner(None) is Ownership.OWN


def owner(owner_file: str | None) -> Ownership:
    settings = config.load("/dev/null", profile="hostos")
    return ownership.of(settings.boot._replace(owner_file=owner_file))
