"""What is to be done in one place is done there and nowhere else."""

import re
from pathlib import Path

import pytest

import manageboot

ROOT = Path(manageboot.__file__).parent

PLACES = {
    r"\bos\.(rename|replace)\(": {"system/files.py"},
    r"/sys/(class|dev|block)\b": {"disk/sysfs.py"},
    r"\bos\.O_DIRECT\b": {"disk/blockdev.py"},
    r"\bPOSIX_FADV_DONTNEED\b": {"disk/blockdev.py", "system/files.py"},
    r"\bimport kernelcmdline\b": {"boot/cmdline.py"},
    r"\bimport subprocess\b": {"system/process.py", "fetch/process.py"},
    r"\bos\.(posix_spawn|fork)\(": {"daemon/children.py"},
    r"\bos\.exec\w+\(": {"system/inherited.py", "icos/privilege.py"},
}
"""By what the source has there: replacing a file, sysfs, reading past the page cache, the kernel command line, and each
way to start a program."""


@pytest.mark.parametrize("pattern", PLACES)
def test_it_is_done_in_its_place_alone(pattern: str):
    found = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if re.search(pattern, path.read_text())}
    assert found == PLACES[pattern]
