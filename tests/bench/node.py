"""A node that manageboot runs on in a benchmark: slot A is booted and trusted."""

import sys
from pathlib import Path

from bench.contestant import Command
from support.blocks import environment_block

_CONFIG = """\
profile = "custom"
[boot]
grubenv = "{work}/grubenv"
cmdline = "{work}/cmdline"
[state]
directory = "{work}/state"
lock = "{runtime}/lock"
"""


def make_node(work: Path, runtime: Path, rest: str) -> Command:
    """Make a node, and return the beginning of its command line.

    Args:
        work: where its files go.
        runtime: the directory of its lock.
        rest: of its configuration.
    """
    (work / "cmdline").write_text("dfinity.system=A\n")
    (work / "grubenv").write_bytes(environment_block(boot_alternative="A", boot_cycle="stable"))
    config = work / "manageboot.toml"
    config.write_text(_CONFIG.format(work=work, runtime=runtime) + rest)
    return [sys.executable, "-m", "manageboot", "-c", config]
