"""What fsck.fat says of a file system that was in use when the power went, and which of it costs a file."""

import pytest

from powercuts.filesystems import costs_a_file

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
