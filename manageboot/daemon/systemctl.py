"""What systemd is asked of units, and what it answers."""

from collections.abc import Sequence

from manageboot.daemon.children import Outcome
from manageboot.daemon.steps import Command

_TIMEOUT_S = 30.0

IS_SYSTEM_RUNNING = Command(("systemctl", "is-system-running"), _TIMEOUT_S)
"""How far the boot is."""


def show(units: Sequence[str], properties: Sequence[str]) -> Command:
    """Ask for properties of units."""
    return Command(("systemctl", "show", f"--property={','.join(properties)}", "--", *units), _TIMEOUT_S)


def shown(units: Sequence[str], outcome: Outcome | None) -> dict[str, dict[str, str]] | None:
    """Take the answer to `show` apart.

    Args:
        units: those that were asked for, each with one answer.
        outcome: how the command ended.

    Returns:
        The properties of each unit that systemd told; None: that is no answer.

    Source: systemctl(1): a block of lines a unit, in the order of the question, with an empty line in between.
    """
    blocks = "" if outcome is None else outcome.output
    answers = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks.split("\n\n")]
    return dict(zip(units, answers, strict=True)) if len(answers) == len(units) else None
