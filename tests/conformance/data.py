"""What callers may rely on, as data: contract.md and matrix.json as the cases of docs/conformance.json.

`cd tests && ../.venv/bin/python -m conformance.data >../docs/conformance.json` writes it anew.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from conformance.table import State, states
from support.blocks import environment_block

SCHEMA = 1
MATRIX = Path(__file__).parent / "matrix.json"
PUBLISHED = Path(__file__).parents[2] / "docs" / "conformance.json"

_CONTRACT_CALLS = {
    "current": ["current"],
    "target": ["target"],
    "next": ["next"],
    "upgrade-install": ["upgrade-install", "IMAGE"],
    "upgrade-commit": ["upgrade-commit"],
    "confirm": ["confirm"],
    "install": ["install", "BOOT_IMG", "ROOT_IMG"],
    "--nocheck upgrade-install": ["--nocheck", "upgrade-install", "IMAGE"],
    "confirm by manageboot.sh": ["confirm"],
}
_OF_MANAGEBOOT_SH = {"install", "--nocheck upgrade-install", "confirm by manageboot.sh"}


class Start(NamedTuple):
    """The state that a case of the matrix begins in."""

    booted: str
    """The slot on the kernel command line; empty: none."""
    block: bytes | None


def _block(alternative: str, cycle: str) -> bytes:
    return environment_block(boot_alternative=alternative, boot_cycle=cycle)


STARTS = {
    "idle A": Start("A", _block("A", "stable")),
    "idle B": Start("B", _block("B", "stable")),
    "install A": Start("A", _block("A", "install")),
    "pending": Start("A", _block("B", "first_boot")),
    "trial B": Start("B", _block("B", "failsafe_check")),
    "trial unrecorded (kexec)": Start("B", _block("B", "first_boot")),
    "no values": Start("A", environment_block()),
    "absent": Start("A", None),
    "conflict stable": Start("A", _block("B", "stable")),
    "conflict failsafe": Start("A", _block("B", "failsafe_check")),
    "no dfinity.system": Start("", _block("A", "stable")),
    "empty 0-byte file": Start("A", b""),
    "unpadded, one line": Start("B", b"boot_alternative=B\n"),
    "unpadded, no signature": Start("B", b"boot_alternative=B\nboot_cycle=first_boot\n"),
    "unpadded, names twice": Start(
        "B", b"boot_alternative=A\nboot_cycle=first_boot\nboot_alternative=B\nboot_cycle=stable\n"
    ),
    "unpadded, comments and blanks": Start("A", b"# by hand\n  boot_alternative=A\nboot_cycle=stable # as it was\n"),
    "unpadded, invalid values": Start("A", b"boot_alternative=C\nboot_cycle=unknown\n"),
}
"""By the names that matrix.json has for them."""


def matrix() -> dict[str, dict[str, dict[str, Any]]]:
    """Read the matrix: by state and action what is done here, and where it is another, by the original."""
    read: dict[str, dict[str, dict[str, Any]]] = json.loads(MATRIX.read_text())
    return read


def command_line(booted: str) -> str:
    """Write the kernel command line of a node."""
    return "BOOT_IMAGE=/vmlinuz root=/dev/vda5 console=ttyS0 " + (f"dfinity.system={booted} ro" if booted else "ro")


def cases() -> list[dict[str, Any]]:
    """Give all cases, in the order of the tables."""
    return [case for state in states() for case in _of_contract(state)] + [
        _of_matrix(state, action, cell) for state, cells in matrix().items() for action, cell in cells.items()
    ]


def render() -> str:
    """Write the file: one case a line."""
    lines = ",\n".join(f"  {json.dumps(case)}" for case in cases())
    return f'{{\n "schema": {SCHEMA},\n "cases": [\n{lines}\n ]\n}}\n'


def contract_block(text: str) -> bytes | None:
    """Make the block that a row of contract.md begins with."""
    match text:
        case "absent":
            return None
        case "damaged":
            return b"\0" * 1024
        case "empty":
            return environment_block(saved_entry="0")
    alternative, cycle = text.split()
    return environment_block(saved_entry="0", boot_alternative=alternative, boot_cycle=cycle)


def _of_contract(state: State) -> list[dict[str, Any]]:
    found = []
    for action, cell in state.cells.items():
        # A confirm by manageboot.sh has a column of its own.
        programs = [] if action in _OF_MANAGEBOOT_SH or action == "confirm" else ["manageboot"]
        programs = ["manageboot"] if action == "confirm" else [*programs, "manageboot.sh"]
        found += [
            _start(state.name, state.booted, contract_block(state.block), state.record)
            | {
                "program": program,
                "calls": [_CONTRACT_CALLS[action]],
                "here": {
                    "status": [cell.status],
                    "stdout": cell.answer,
                    "block": _values(cell.block),
                    "reboots": action == "upgrade-commit" and cell.status == 0,
                    "code": cell.code or None,
                },
            }
            for program in programs
        ]
    return found


def _of_matrix(state: str, action: str, cell: dict[str, Any]) -> dict[str, Any]:
    booted, block = STARTS[state]
    calls = [call.split() for call in action.split(", ")]
    sides = {side: cell[side] for side in ("here", "original") if side in cell}
    values = {side: answer | {"block": _values(answer["block"] or "")} for side, answer in sides.items()}
    why = {"why": cell["why"]} if "why" in cell else {}
    return _start(state, booted, block, "") | {"program": "manageboot.sh", "calls": calls} | values | why


def _start(state: str, booted: str, block: bytes | None, record: str) -> dict[str, Any]:
    return {
        "state": state,
        "command_line": command_line(booted),
        "block": None if block is None else _bytes(block),
        "record": record or None,
    }


def _bytes(block: bytes) -> dict[str, Any]:
    """Give a block as text, without what fills it up."""
    fill = block[-1:].decode() if len(block) == 1024 else ""
    return {"text": (block.rstrip(fill.encode()) if fill else block).decode(), "fill": fill, "size": len(block)}


def _values(words: str) -> dict[str, str] | None:
    """Give what a block says afterwards; None: its bytes are the same."""
    if not words:
        return None
    if "=" in words:
        return dict(word.split("=") for word in words.split())
    alternative, cycle = words.split()
    return {"boot_alternative": alternative, "boot_cycle": cycle}


if __name__ == "__main__":
    print(render(), end="")
