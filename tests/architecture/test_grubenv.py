"""The rooms of grubenv: its document lists them all, and each imports from those below it alone."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.test_imports import GRUBENV, imports, modules

PAGE = (GRUBENV.parent / "docs" / "grubenv.md").read_text()
ROWS = re.findall(
    r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", PAGE.partition("## The rooms")[2].partition("\n## ")[0], re.MULTILINE
)
ROOMS = [room for room, _ in ROWS][::-1]
"""From the foundation to the roof."""
MODULES = {name: path for name, path in modules().items() if name.startswith("grubenv.")}


def room_of(module: str) -> str:
    return module.split(".")[1]


def test_the_document_lists_every_room():
    assert len(ROOMS) == len(set(ROOMS))
    assert set(ROOMS) == {room_of(name) for name in MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down_the_order_of_the_rooms(name: str):
    upwards = [
        imported
        for imported in imports(MODULES[name], late=True) & set(MODULES)
        if ROOMS.index(room_of(imported)) > ROOMS.index(room_of(name))
    ]
    assert upwards == []


def test_the_package_itself_imports_what_a_query_needs_and_no_more():
    assert imports(GRUBENV / "__init__.py", late=False) & set(MODULES) == {
        f"grubenv.{room}" for room in ("errors", "file", "place", "view")
    }


def test_the_document_says_where_to_begin():
    for room, where in ROWS:
        for name in re.findall(r"`([\w.]+\.py)`", where):
            assert (GRUBENV / room / name).exists(), name


@pytest.mark.parametrize("room", [room for room in ROOMS if (GRUBENV / room).is_dir()])
def test_every_room_says_what_it_is_for(room: str):
    assert len(ast.get_docstring(ast.parse((GRUBENV / room / "__init__.py").read_text())) or "") > 40


def test_a_query_loads_four_modules(tmp_path: Path):
    path = tmp_path / "grubenv"
    path.write_bytes(b"# GRUB Environment Block\n".ljust(1024, b"#"))
    code = "import grubenv, sys; grubenv.query(sys.argv[1]); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True, cwd=GRUBENV.parent
    )
    loaded = {name for name in done.stdout.split() if name.partition(".")[0] == "grubenv"}
    assert loaded == {"grubenv", "grubenv.errors", "grubenv.file", "grubenv.place", "grubenv.view"}


def test_the_wheel_has_every_room():
    packages = tomllib.loads((GRUBENV.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = {f"grubenv.{room}" for room in ROOMS if (GRUBENV / room).is_dir()}
    assert {name for name in packages if name.startswith("grubenv.")} == rooms
