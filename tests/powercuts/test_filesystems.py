"""What is left of file systems that were in use when the power went, and which of it costs a file."""

import os
import shutil
from pathlib import Path

import pytest

from powercuts.filesystems import FileSystem, costs_a_file
from support import judges
from support.loop import loop_device, run
from support.mounts import mounted

IN_USE = """\
fsck.fat 4.2 (2021-01-31)
{}Dirty bit is set. Fs was not properly unmounted and some data may be corrupt.
 Automatically removing dirty bit.

Leaving filesystem unchanged.
grub.img: 291 files, 9199/16343 clusters"""


@pytest.mark.parametrize(
    "finding",
    [
        "",
        "FATs differ but appear to be intact.\n  Using first FAT.\nReclaimed 1 unused cluster (2048 bytes).\n",
        "/manageboot.env.new\n  File size is 1024 bytes, cluster chain length is 0 bytes.\n",
        "/GRUBEN~1.NEW\n  Contains a free cluster (9201). Assuming EOF.\n/GRUBEN~1.NEW\n  Truncating file.\n",
        "/grub.cfg.old.new  and\n/grub.cfg.old\n  share clusters.\n/grub.cfg.old\n  Truncating file to 0 bytes.\n",
        'Orphaned long file name part "grub.cfg.old.new"\n  Auto-deleting.\n',
    ],
)
def test_what_costs_nothing(finding: str):
    assert not costs_a_file(IN_USE.format(finding).splitlines())


@pytest.mark.parametrize(
    "finding",
    [
        "/grub.cfg\n  Contains a free cluster (9202). Assuming EOF.\n",
        "/GRUBENV\n  File size is 1024 bytes, cluster chain length is 0 bytes.\n  Truncating file to 0 bytes.\n",
        "/grubenv  and\n/grub.cfg\n  share clusters.\n  Truncating second to 0 bytes.\n",
        "/grubenv.new\n  Contains a free cluster (9201). Assuming EOF.\n/grubenv\n  Contains a free cluster (9200).\n",
        'Orphaned long file name part "grub.cfg"\n  Auto-deleting.\n',
        "Logical sector size is zero.\n",
    ],
)
def test_what_costs_a_file(finding: str):
    assert costs_a_file(IN_USE.format(finding).splitlines())


@pytest.mark.devices
@pytest.mark.skipif(not judges.can_be_had("trixie"), reason="e2fsck of trixie is unpacked by mmdebstrap")
def test_a_file_that_was_open_and_had_no_name_any_more_is_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The kernel notes it in the file of orphans, which Debian 13's mke2fs makes."""
    disk, copy, point = tmp_path / "disk.img", tmp_path / "copy.img", tmp_path / "point"
    disk.write_bytes(bytes(16 << 20))
    # With one group of blocks there is no other super block, and no difference between two of them to force a check.
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-O", "orphan_file", disk)
    point.mkdir()
    with loop_device(disk) as device, mounted(device, point), (point / "open").open("xb") as file:
        file.write(bytes(8192))
        os.unlink(point / "open")
        # The directory takes the removal to the disk, but no sync of all, which would empty the journal as well.
        descriptor = os.open(point, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        shutil.copyfile(device, copy)
    monkeypatch.setenv("PATH", judges.path_of("trixie"))
    assert FileSystem(copy).check() == ""
