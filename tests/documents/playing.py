"""Does what a page says, as a person does who pastes it, and compares what is shown."""

import re
from itertools import pairwise
from pathlib import Path

from documents import pages
from documents.pages import Fence, Step
from documents.shell import Shell

COMMAND_LIMIT_S = 1200
BOOT_LIMIT_S = 1200
"""Far beyond the minute that it takes where nobody else is at work."""


def follow(shell: Shell, page: Path, *, without: str | None = None) -> None:
    """Do all that a page says, or all but a section, which has to be there."""
    fences = pages.fences(page)
    assert without is None or without in {fence.section for fence in fences}
    for fence in fences:
        if fence.section == without:
            continue
        if fence.language == "sh":
            shell.run(fence.text, COMMAND_LIMIT_S)
        elif fence.language == "console":
            play(shell, fence)


def matches(shown: str, said: str) -> bool:
    """Compare what the page shows with what was said: a line of dots stands for any lines, dots in a line for text."""
    wanted = [
        ".*" if line == "..." else re.escape(line).replace(re.escape("..."), r"[^\n]*") for line in shown.splitlines()
    ]
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
