"""Queries start fast: what they load is on a list, which is not to grow without a reason."""

import subprocess
import sys
from pathlib import Path

import pytest

EVERY = {
    "manageboot",
    "manageboot.__main__",
    "manageboot.boot",
    "manageboot.cli",
    "manageboot.cli.main",
    "manageboot.cli.parser",
    "manageboot.config",
    "manageboot.config.toml",
    "manageboot.errors",
    "manageboot.protocol",
    "manageboot.system",
    "manageboot.system.console",
    "manageboot.system.files",
    "manageboot.system.inherited",
    "manageboot.system.signals",
    "manageboot.system.text",
}
CMDLINE = {"manageboot.boot.cmdline"}
BLOCK = {f"manageboot.boot.{name}" for name in ("blockfile", "envblock", "markers", "trusted")}
DEVICES = {"manageboot.disk", "manageboot.disk.devices", "manageboot.disk.sysfs"}

QUERIES = {"current": CMDLINE, "target": CMDLINE, "next": BLOCK, "current_partition": CMDLINE | DEVICES}
"""What each loads, beside what every one of them does."""

MOST_OF_GRUBENV = 7
"""How many modules of grubenv a query loads."""


CODE = """
import sys
from manageboot.__main__ import main
assert main() == 0
ours = {name: vars(module) for name, module in sys.modules.items() if name.split(".")[0] in {"manageboot", "grubenv"}}
print(*ours)
print(*(f"{name}.{key}" for name in ours for key, value in ours[name].items() if type(value).__name__ == "Pattern"))
"""


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_loads_what_it_needs(query: str, tmp_path: Path):
    (tmp_path / "cmdline").write_text("dfinity.system=A\n")
    (tmp_path / "grubenv").write_bytes(b"# GRUB Environment Block\n".ljust(1024, b"#"))
    slots = "".join(f'[slots.{slot}]\nboot = "/dev/{slot}1"\nroot = "/dev/{slot}2"\n' for slot in "AB")
    boot = f'[boot]\ngrubenv = "{tmp_path}/grubenv"\ncmdline = "{tmp_path}/cmdline"\n'
    (tmp_path / "manageboot.toml").write_text(boot + slots)
    command = [sys.executable, "-c", CODE, "-c", str(tmp_path / "manageboot.toml"), query]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer, modules, patterns = done.stdout.split("\n")[:3]
    assert answer in {"A", "B", "/dev/A2"}
    ours = set(modules.split())
    assert {name for name in ours if name.startswith("manageboot")} == EVERY | QUERIES[query]
    assert len({name for name in ours if name.startswith("grubenv")}) <= MOST_OF_GRUBENV
    # To compile one takes half a millisecond, whether it is needed or not.
    assert patterns == ""
