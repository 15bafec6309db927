"""The pages that are to be pasted, on a clean Debian: each command is run, and each output is what is shown."""

import pytest

from documents import pages, playing
from documents.pages import DOCS
from documents.playing import COMMAND_LIMIT_S, matches
from documents.shell import Shell


@pytest.mark.long
@pytest.mark.qemu
def test_a_node_in_ten_minutes(shell: Shell):
    playing.follow(shell, DOCS / "start.md")


@pytest.mark.long
@pytest.mark.qemu
def test_an_image_by_mmdebstrap(shell: Shell):
    programs = pages.fences(DOCS / "start.md")[0]
    shell.run(programs.text, COMMAND_LIMIT_S)
    playing.follow(shell, DOCS / "build-image.md")
    # GRUB finds the kernel in it, and init is in the root.
    assert {"vmlinuz", "initrd.img"} <= set(shell.run("grub-fstest $PWD/boot.img ls /", COMMAND_LIMIT_S).split())
    assert "manageboot.toml" in shell.run("debugfs -R 'ls /etc/manageboot' root.img", COMMAND_LIMIT_S)


@pytest.mark.parametrize(
    ("shown", "said", "fits"),
    [
        ("B", "B\n", True),
        ("B", "A\n", False),
        ("...", "", True),
        ("...", "a\nb\n", True),
        ("a\n...\nd", "a\nb\nc\nd\n", True),
        ("a\n...\nd", "a\nd\n", True),
        ("a\n...\nd", "a\nc\n", False),
        ("...\nno init\n...", "x\nno init\ny\n", True),
        ("...\nno init\n...", "x\ny\n", False),
        ("...panic: init...", "[ 1.2] panic: init 0x1\n", True),
        ("...panic: init...", "[ 1.2] panic:\ninit\n", False),
    ],
)
def test_dots_stand_for_lines(shown: str, said: str, fits: bool):
    assert matches(shown, said) is fits
