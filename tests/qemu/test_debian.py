"""Which release of Debian a node is of, and GRUB's programs of one that the host does not run."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from qemu_harness.debian import Release, chosen_release, sources_of
from qemu_harness.grubtools import HOST_TOOLS, JUDGES, GrubTools
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


@pytest.mark.grub
def test_programs_that_judge_come_first_in_a_path_wherever_they_were_moved(tmp_path: Path):
    built = tmp_path / "built"
    for place in ("usr/lib64/ld-linux-x86-64.so.2", *(f"usr/bin/{program}" for program in JUDGES)):
        path = built / "root" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('#!/bin/sh\nshift 2; printf "%s\\n" "$@"\n')
        path.chmod(0o755)
    GrubTools(built / "root").write_judges()
    moved = built.rename(tmp_path / "with a blank") / "root"
    said = subprocess.run(
        ["grub-emu", "one word"], env={"PATH": GrubTools(moved).path("/bin")}, check=True, stdout=subprocess.PIPE
    ).stdout.decode()
    program, *arguments = said.splitlines()
    assert (Path(program).resolve(), arguments) == (moved / "usr/bin/grub-emu", ["one word"])
    assert HOST_TOOLS.path("/bin") == "/bin"


def archives(known: dict[str, list[str]]) -> Callable[[str], list[str]]:
    """What the host's package manager knows."""
    return lambda suite: known.get(suite, [])


def test_an_archive_that_the_host_knows_is_taken_as_it_is():
    known = {"own": ["deb http://one.test/debian/ own main"], "other": ["deb http://two.test/debian/ other main"]}
    assert sources_of("other", "own", archives(known)) == known["other"]
    assert sources_of("own", "own", archives(known)) == known["own"]


def test_the_archive_of_the_host_is_asked_for_a_release_that_it_has_not_enabled():
    lines = ["deb http://one.test/debian/ own main", "deb http://one.test/security/ own-security main"]
    assert sources_of("other", "own", archives({"own": lines})) == [
        "deb http://one.test/debian/ other main",
        "deb http://one.test/security/ other-security main",
    ]


def test_a_host_of_which_nothing_is_known_leaves_it_to_mmdebstrap():
    assert sources_of("other", "", archives({})) == []
