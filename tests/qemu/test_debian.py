"""Which release of Debian a node is of, and GRUB's programs of one that the host does not run."""

from pathlib import Path

import pytest

from qemu_harness.debian import Release, chosen_release
from qemu_harness.grubtools import HOST_TOOLS, GrubTools
from qemu_harness.process import HarnessError


def test_the_release_is_what_the_environment_names():
    assert chosen_release({}) is Release.BOOKWORM
    assert chosen_release({"DISTRIBUTION": ""}) is Release.BOOKWORM
    assert chosen_release({"DISTRIBUTION": "trixie"}) is Release.TRIXIE


def test_another_release_is_refused_by_name():
    with pytest.raises(HarnessError, match="cannot build a node of 'sid': DISTRIBUTION may be bookworm and trixie"):
        chosen_release({"DISTRIBUTION": "sid"})


def test_unpacked_programs_start_with_their_own_libraries(tmp_path: Path):
    assert HOST_TOOLS.command("grub-mkimage") == ["grub-mkimage"]
    program = tmp_path / "usr/bin/grub-mkimage"
    program.parent.mkdir(parents=True)
    program.touch()
    loader, option, libraries, last = GrubTools(tmp_path).command("grub-mkimage")
    assert (option, last) == ("--library-path", str(program))
    assert all(path.startswith(str(tmp_path)) for path in (loader, *libraries.split(":")))
