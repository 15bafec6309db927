"""Every cell of contract.md, with both programs and both profiles, on loop devices."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.front_doors import call
from conformance.table import Cell, State, states
from manageboot.boot import record
from manageboot.boot.record import SlotRecord
from manageboot.protocol import Content, Slot
from support.blocks import environment_block
from support.images import MIB, make_update
from support.node import LoopNode

pytestmark = pytest.mark.devices

PROFILES = ("guestos", "hostos")
OF_THE_OLD = {
    "install": ("install", "BOOT", "ROOT"),
    "--nocheck upgrade-install": ("--nocheck", "upgrade-install", "IMAGE"),
    "confirm by manageboot.sh": ("confirm",),
}
OF_BOTH = {"upgrade-install": ("upgrade-install", "IMAGE"), "upgrade-commit": ("upgrade-commit",)}


@pytest.fixture(scope="module")
def whole_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopNode]:
    with LoopNode(tmp_path_factory.mktemp("node")) as node:
        (node.grubenv.parent / "grub.cfg").touch()
        make_update(node.directory / "update", boot_size=MIB, root_size=MIB)
        yield node


@pytest.fixture
def node(whole_node: LoopNode) -> LoopNode:
    whole_node.write_config(install='wipe_var = "1MiB"')
    return whole_node


def cases() -> Iterator[tuple[State, str, str]]:
    """Every state with both programs; the daily ones with each profile, the others with one and the other in turn."""
    for number, state in enumerate(states()):
        for program in ("manageboot", "manageboot.sh"):
            daily = state.name in {"idle", "installed", "pending", "trial"}
            turn = PROFILES[(number + (program == "manageboot")) % 2]
            for profile in PROFILES if daily else [turn]:
                yield state, program, profile


def put_into(node: LoopNode, state: State) -> None:
    """Bring the node into a state."""
    node.set_booted(state.booted)
    for path in (node.grubenv, node.state / record.FILE_NAME):
        path.unlink(missing_ok=True)
    if state.record:
        other = Slot(state.booted).other if state.booted in {"A", "B"} else Slot.B
        record.store(str(node.state), {other: SlotRecord(Content(state.record))})
    if state.block != "absent":
        node.grubenv.write_bytes(block(state.block))


def block(text: str) -> bytes:
    if text == "damaged":
        return b"\0" * 1024
    if text == "empty":
        return environment_block(saved_entry="0")
    alternative, cycle = text.split()
    return environment_block(saved_entry="0", boot_alternative=alternative, boot_cycle=cycle)


def check(node: LoopNode, state: State, program: str, system: str, arguments: tuple[str, ...], expected: Cell) -> None:
    put_into(node, state)
    before = node.grubenv.read_bytes() if node.grubenv.exists() else None
    images = {name: node.directory / "update" / file for name, file in
              (("IMAGE", "update-img.tar.zst"), ("BOOT", "boot.img"), ("ROOT", "root.img"))}  # fmt: skip
    words: list[str | Path] = [images.get(word, word) for word in arguments]
    words.insert(1 if words[0] == "--nocheck" else 0, system)
    done = call(program, node.config, *words)
    case = f"{program} {' '.join(arguments)}, {state.name}: {done}"
    assert (done.status, done.stdout) == (expected.status, f"{expected.answer}\n" if expected.answer else ""), case
    errors = [line for line in done.stderr.splitlines() if ": error: " in line]
    assert len(errors) == bool(expected.code), case
    assert all(line.endswith(f"[{expected.code}]") for line in errors), case
    after = node.grubenv.read_bytes() if node.grubenv.exists() else None
    if not expected.block:
        assert after == before, case
    elif before is not None:
        # What is not ours is still there, and in its place.
        alternative, cycle = expected.block.split()
        values = {"saved_entry": "0", "boot_alternative": alternative, "boot_cycle": cycle}
        assert (node.block(), after[:39]) == (values, before[:39]), case
    else:
        alternative, cycle = expected.block.split()
        assert node.block() == {"boot_alternative": alternative, "boot_cycle": cycle}, case


@pytest.mark.parametrize(
    ("state", "program", "profile"), list(cases()), ids=lambda value: getattr(value, "name", value)
)
def test_a_state(node: LoopNode, state: State, program: str, profile: str):
    actions = {name: ((name,), state.cells[name]) for name in ("current", "target", "next")}
    for query in ("current", "target"):
        letter = state.cells[query]
        root = node.devices[letter.answer]["root"] if letter.answer else ""
        actions[f"{query}_partition"] = ((f"{query}_partition",), letter._replace(answer=root))
    words = OF_BOTH | (OF_THE_OLD if program == "manageboot.sh" else {"confirm": ("confirm",)})
    for action, arguments in words.items():
        actions[action] = (arguments, state.cells[action])
    for arguments, expected in actions.values():
        check(node, state, program, profile, arguments, expected)


def test_the_table_has_every_cycle_in_both_slots_and_every_phase():
    blocks = {(state.booted, state.block) for state in states()}
    assert {("A", f"{slot} {cycle}") for slot in "AB" for cycle in ("stable", "failsafe_check")} - blocks == {
        ("A", "A failsafe_check")
    }
    assert {("A", "B first_boot"), ("B", "B first_boot"), ("A", "A install"), ("A", "empty"), ("A", "absent")} <= blocks
