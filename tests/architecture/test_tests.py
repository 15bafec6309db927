"""The tests' own house: a folder for each room, what they share in one place, and files that one can read."""

import subprocess

import pytest

from architecture.sources import ROOT, TESTS, imports

SHARED = "support"
BESIDE_THE_ROOMS = {
    "architecture": "the house itself",
    "bench": "how fast it is",
    "documents": "what the documents say",
    "conformance": "both programs against the contract of IC-OS",
    "grubenv": "the library",
    "packages": "what people install",
    "powercuts": "the whole life of a node, cut anywhere",
    "protocol": "the boot protocol, walked with real GRUB",
    "qemu": "the harness, and the node in a virtual machine",
    SHARED: "what several folders need",
}
# The library and its tests can be moved out as a whole, so what they know of damaged blocks stays with them.
ALLOWED = {("boot", "grubenv")}
LINES_MAX = 400

FOLDERS = sorted(path.name for path in TESTS.iterdir() if any(path.rglob("*.py")) and path.name != "__pycache__")


def folder_of(module: str) -> str | None:
    """The folder of tests that a module lies in; None: it is no part of the tests."""
    first, *rest = module.split(".")
    if first == "tests":
        return rest[0] if rest and rest[0] in FOLDERS else None
    # The library's folder has the library's name, so its modules are imported by way of `tests`.
    return first if first in FOLDERS and first != "grubenv" else None


def test_each_folder_is_that_of_a_room():
    rooms = {path.name for path in ROOT.iterdir() if any(path.glob("*.py")) and path.name != "__pycache__"}
    assert set(FOLDERS) == rooms | set(BESIDE_THE_ROOMS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_what_is_shared_and_its_own_only(folder: str):
    for path in sorted((TESTS / folder).rglob("*.py")):
        others = {folder_of(name) for name in imports(path, late=True)} - {None, SHARED, folder}
        assert {(folder, other) for other in others} <= ALLOWED, path


@pytest.mark.parametrize("tree", ["manageboot", "grubenv", "qemu-harness", "tests"])
def test_a_file_can_be_read_in_one_go(tree: str):
    lines = {path: path.read_text().count("\n") for path in (TESTS.parent / tree).rglob("*.py")}
    assert {path: count for path, count in lines.items() if count > LINES_MAX} == {}


@pytest.mark.parametrize(
    ("program", "markers"),
    [("losetup", "devices"), ("grub-emu", "grub"), ("grub-editenv", "devices or grub"), ("qemu-system-x86_64", "qemu")],
)
def test_a_test_needs_the_marker_of_what_it_starts(request: pytest.FixtureRequest, program: str, markers: str):
    assert request.node.get_closest_marker("pure")
    with pytest.raises(AssertionError, match=f"a test that starts {program} has to bear the marker {markers}$"):
        subprocess.run([program, "--version"], check=False)
