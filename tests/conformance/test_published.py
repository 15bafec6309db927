"""docs/conformance.json says what the tables say; each case of the matrix is tried, each difference has a reason."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance import data
from conformance.front_doors import call
from manageboot.boot import record
from support.images import MIB, make_update
from support.node import LoopNode

# The node of the module goes away with its last test, whichever that is.
pytestmark = pytest.mark.devices

DOCS = data.PUBLISHED.parent
CASES: list[dict[str, Any]] = json.loads(data.PUBLISHED.read_text())["cases"]
OF_THE_MATRIX = [case for case in CASES if case["state"] in data.STARTS and case["record"] is None and "here" in case]


def test_the_file_is_made_of_the_tables():
    assert data.PUBLISHED.read_text() == data.render()


def test_the_matrix_is_whole():
    assert list(data.matrix()) == list(data.STARTS)
    assert len(data.STARTS) == 17
    assert {len(cells) for cells in data.matrix().values()} == {13}


def test_a_difference_is_said_to_be_one_and_nothing_else_is():
    for case in CASES:
        assert ("original" in case) is ("why" in case), case
        if "original" in case:
            assert case["original"] != {key: value for key, value in case["here"].items() if key != "code"}, case


def test_each_difference_has_its_reason():
    section = (DOCS / "ic-os.md").read_text().partition("## What differs, cell by cell")[2].partition("\n## ")[0]
    reasons = re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)
    assert len(reasons) == len(set(reasons))
    assert set(reasons) == {case["why"] for case in CASES if "why" in case}


def test_the_page_explains_every_key():
    page = (DOCS / "conformance.md").read_text()
    keys = {key for case in CASES for key in (*case, *case["here"], *(case["block"] or {}))}
    assert {key for key in keys if f"| `{key}` |" not in page} == set()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopNode]:
    with LoopNode(tmp_path_factory.mktemp("node")) as node:
        (node.grubenv.parent / "grub.cfg").touch()
        make_update(node.directory / "update", boot_size=MIB, root_size=MIB)
        node.write_config(install='wipe_var = "1MiB"')
        yield node


@pytest.mark.parametrize("state", data.STARTS)
def test_each_cell_of_the_matrix(node: LoopNode, state: str):
    # The host differs from the guest in no cell, so each takes its turn.
    system = ("guestos", "hostos")[list(data.STARTS).index(state) % 2]
    cells = [case for case in CASES if case["state"] == state and case["state"] in data.STARTS and "record" in case]
    tried = [case for case in cells if case["program"] == "manageboot.sh" and case["record"] is None]
    assert len({str(case["calls"]) for case in tried}) == 13
    for case in tried:
        assert answer(node, case, system) == case["here"], case


def answer(node: LoopNode, case: dict[str, Any], system: str) -> dict[str, Any]:
    """Do what a case says, and return what a caller sees of it, as the file has it."""
    start(node, case)
    before = content(node.grubenv)
    images = {
        name: str(node.directory / "update" / file)
        for name, file in (("IMAGE", "update-img.tar.zst"), ("BOOT_IMG", "boot.img"), ("ROOT_IMG", "root.img"))
    }
    answers = []
    for words in case["calls"]:
        options = [word for word in words if word.startswith("-")]
        rest = [images.get(word, word) for word in words if word not in options]
        answers.append(call("manageboot.sh", node.config, *options, system, *rest))
    codes = [re.findall(r"error: .* \[([A-Z_]+)\]$", done.stderr, re.MULTILINE) for done in answers]
    stdout = "".join(done.stdout for done in answers).removesuffix("\n")
    roots = {node.devices[slot]["root"]: f"ROOT_{slot}" for slot in "AB"}
    after = content(node.grubenv)
    # What is no block to GRUB's tool stays as it is.
    found = node.block() if after and after != before else {}
    values = {name: value for name, value in found.items() if name.startswith("boot_")}
    return {
        "status": [done.status for done in answers],
        "stdout": roots.get(stdout, stdout),
        "block": None if after == before else values,
        "reboots": node.reboots.exists(),
        "code": next((code for found in codes for code in found), None),
    }


def start(node: LoopNode, case: dict[str, Any]) -> None:
    """Bring the node into the state of a case, by what the file says of it alone."""
    node.cmdline.write_text(f"{case['command_line']}\n")
    for path in (node.grubenv, node.state / record.FILE_NAME, node.reboots, node.grubenv.parent / "manageboot.env"):
        path.unlink(missing_ok=True)
    if (block := case["block"]) is not None:
        whole = block["text"].encode()
        node.grubenv.write_bytes(whole + block["fill"].encode() * (block["size"] - len(whole)))


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
