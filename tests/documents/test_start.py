"""docs/start.md by copy and paste, on a clean Debian: each command is run, and each output is what is shown."""

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from documents import pages
from documents.pages import Fence, Step
from documents.shell import Shell
from qemu_harness.debian import chosen_release, make_root

PAGE = pages.DOCS / "start.md"
SOURCES = ("Makefile", "grubenv", "manageboot", "systemd-units")

COMMAND_LIMIT_S = 1200
BOOT_LIMIT_S = 1200
"""Far beyond the minute that it takes where nobody else is at work."""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A root shell on a clean Debian, in a checkout."""
    root = tmp_path / "clean"
    make_root(root, chosen_release(), ("ca-certificates",))
    checkout = root / "root"
    for name in SOURCES:
        source = pages.ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, checkout / name)
    shutil.copyfile("/etc/resolv.conf", root / "etc" / "resolv.conf")
    enter = "mount -t proc proc proc && mount --rbind /sys sys && mount --rbind /dev dev && exec chroot . bash"
    command = ["unshare", "--mount", "sh", "-c", f'cd "$0" && {enter}', str(root)]
    with Shell(command) as made:
        made.run("export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8\ncd /root\nshopt -s expand_aliases", 60)
        yield made


def matches(shown: str, said: str) -> bool:
    """Compare what the page shows with what was said; a line of three dots stands for any lines, or none."""
    wanted = [".*" if line == "..." else re.escape(line) for line in shown.splitlines()]
    pattern = r"\n".join(wanted).replace(r"\n.*\n", r"\n(?:.*\n)?").replace(r".*\n", r"(?:.*\n)?")
    return re.fullmatch(pattern, said.strip("\n"), re.DOTALL) is not None


def play(shell: Shell, fence: Fence) -> None:
    """Type what a block shows, and compare."""
    steps = list(pages.steps(fence))
    for index, (step, following) in enumerate(zip(steps, [*steps[1:], None], strict=True)):
        if following is not None and following.prompt != "# ":
            talk(shell, steps[index:])
            return
        said = shell.run(step.typed, COMMAND_LIMIT_S)
        assert matches(step.shown, said), f"{step.typed}: {said}"


def talk(shell: Shell, steps: list[Step]) -> None:
    """Start a virtual machine, and talk to it; each step's output ends at the prompt of the next."""
    shell.begin(steps[0].typed)
    for step, following in pairwise(steps):
        said = shell.answer(following.prompt, following.typed, BOOT_LIMIT_S)
        # The terminal echoes what was typed.
        said = said.partition("\n")[2] if step is not steps[0] else said
        assert matches(step.shown, said.rstrip("\n")), f"{step.typed}: {said}"
    shell.end(BOOT_LIMIT_S)


@pytest.mark.long
@pytest.mark.qemu
def test_the_page_works_by_copy_and_paste(shell: Shell):
    blocks = pages.fences(PAGE)
    assert {block.language for block in blocks} == {"sh", "console"}
    try:
        for block in blocks:
            if block.language == "sh":
                shell.run(block.text, COMMAND_LIMIT_S)
            else:
                play(shell, block)
    finally:
        Path("/tmp/start.transcript").write_text(shell.transcript)


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
    ],
)
def test_dots_stand_for_lines(shown: str, said: str, fits: bool):
    assert matches(shown, said) is fits
