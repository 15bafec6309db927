"""The pages that are to be pasted, on a clean Debian: each command is run, and each output is what is shown."""

import pytest

from documents import pages, playing
from documents.pages import DOCS
from documents.playing import COMMAND_LIMIT_S, matches
from documents.shell import Shell
from qemu_harness.debian import Release, chosen_release

WAYS = ["mmdebstrap", "mkosi"] if chosen_release() is Release.TRIXIE else ["mmdebstrap"]
"""mkosi of Debian 12 has other settings."""


@pytest.mark.long
@pytest.mark.qemu
def test_a_node_in_ten_minutes(shell: Shell):
    playing.follow(shell, DOCS / "start.md")


@pytest.mark.long
@pytest.mark.qemu
@pytest.mark.parametrize("way", WAYS)
def test_an_image(shell: Shell, way: str):
    programs = pages.fences(DOCS / "start.md")[0]
    shell.run(programs.text, COMMAND_LIMIT_S)
    others = {"mmdebstrap": "mkosi", "mkosi": "mmdebstrap"}
    playing.follow(shell, DOCS / "build-image.md", without=f"The tree, by {others[way]}")
    # GRUB finds the kernel in it, init is in the root, and the service is enabled.
    assert {"vmlinuz", "initrd.img"} <= set(shell.run("grub-fstest $PWD/boot.img ls /", COMMAND_LIMIT_S).split())
    assert "manageboot.toml" in shell.run("debugfs -R 'ls /etc/manageboot' root.img", COMMAND_LIMIT_S)
    enabled = "debugfs -R 'ls /etc/systemd/system/sysinit.target.wants' root.img"
    assert "manageboot.service" in shell.run(enabled, COMMAND_LIMIT_S)


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
