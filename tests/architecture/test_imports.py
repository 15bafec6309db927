"""The house: imports go one way, heavy libraries stay with their one importer, and queries do without them."""

import ast
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

from architecture.sources import GRUBENV, ROOT, imports, modules
from support.blocks import environment_block

PAGE = (ROOT.parent / "docs" / "architecture.md").read_text()

ROOMS = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)[::-1]
"""The rooms of the map, from the foundation to the roof: a room imports from those before it and from itself."""

DAEMON_PURE = ("observation", "memory", "tasks", "policy")
"""What the daemon decides by: a value, or a function of values."""

ENTRANCES = {"manageboot.__main__"}

SOLE_IMPORTERS = {
    "sh": {"manageboot.system.process"},
    "systemd": {"manageboot.events.journal", "manageboot.daemon.notify"},
    "pyudev": {"manageboot.disk.devices", "manageboot.daemon.devicewatch"},
    "tqdm": {"manageboot.install.progress"},
    "prometheus_client": {"manageboot.events.metrics"},
    "pycurl": {"manageboot.fetch.transfer", "manageboot.fetch.tls"},
    "construct": {"grubenv.layout"},
    "tuf": {
        "manageboot.channel.trust",
        "manageboot.publish.check",
        "manageboot.publish.metadata",
        "manageboot.publish.root",
        "manageboot.publish.sign",
    },
    # What decompresses is in few places, so that it can be watched.
    "zstandard": {
        "manageboot.image.decompress",
        "manageboot.release.deltacolumns",
        "manageboot.release.deltawriter",
        "manageboot.release.frames",
        "manageboot.publish.delta",
        "manageboot.publish.packing",
        "manageboot.publish.spending",
        "manageboot.publish.archive",
    },
    # Nothing that can sign is on the way of a node.
    "cryptography": {"manageboot.publish.keys"},
    "securesystemslib": {"manageboot.publish.keys"},
}


def test_no_circles_not_even_of_late_imports():
    known = modules()
    graph = {name: imports(path, late=True) & set(known) - {name} for name, path in known.items()}
    # Raises CycleError, which names the circle.
    assert set(TopologicalSorter(graph).static_order()) >= set(known)


def room_of(module: str) -> str:
    """The room of a module: the sub-package, or the name of a module that lies beside them."""
    return module.split(".")[1] if "." in module else "manageboot"


def test_imports_go_down_the_order_of_the_rooms():
    known = modules()
    upwards = [
        f"{name} imports {imported}"
        for name, path in known.items()
        if name.startswith("manageboot.") and name not in ENTRANCES
        for imported in imports(path, late=True) & set(known)
        if imported.startswith("manageboot.")
        and imported not in ENTRANCES
        and ROOMS.index(room_of(imported)) > ROOMS.index(room_of(name))
    ]
    assert upwards == []


def test_the_map_shows_every_room():
    assert set(ROOMS) == {room_of(name) for name in modules() if name.startswith("manageboot.")} - {"__main__"}


def test_the_picture_shows_the_order():
    [picture] = re.findall(r"```mermaid\n(.*?)```", PAGE, re.DOTALL)
    arrows = [re.split(r"\s*-->\s*", line.strip()) for line in picture.splitlines() if "-->" in line]
    below = {upper: lower for names in arrows for upper, lower in pairwise(names)}
    assert below == dict(pairwise(ROOMS[::-1]))


def test_the_map_says_where_to_begin():
    for room, where in re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", PAGE, re.MULTILINE):
        for name in re.findall(r"`([\w.]+)`", where):
            assert (ROOT / room / name).exists(), name


def test_every_room_says_what_it_is_for():
    for room in ROOMS:
        if (ROOT / room).is_dir():
            assert len(ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text())) or "") > 40, room


def test_the_protocol_is_pure():
    assert imports(ROOT / "protocol.py", late=True) == {"enum", "typing", "manageboot.errors"}


@pytest.mark.parametrize("name", DAEMON_PURE)
def test_what_the_daemon_decides_and_remembers_is_pure(name: str):
    pure = {"enum", "typing", "manageboot.protocol"} | {f"manageboot.daemon.{one}" for one in DAEMON_PURE}
    assert imports(ROOT / "daemon" / f"{name}.py", late=True) <= pure


def test_grubenv_knows_nothing_of_manageboot():
    for path in GRUBENV.rglob("*.py"):
        assert not any(name.split(".")[0] == "manageboot" for name in imports(path, late=True)), path


def test_a_node_never_imports_what_publishes():
    importers = {
        name
        for name, path in modules().items()
        if any(imported.startswith("manageboot.publish") for imported in imports(path, late=True))
    }
    assert {name for name in importers if room_of(name) != "publish"} == {"manageboot.cli.release"}


@pytest.mark.parametrize("library", SOLE_IMPORTERS)
def test_each_library_has_one_importer(library: str):
    importers = {
        name
        for name, path in modules().items()
        if any(imported.split(".")[0] == library for imported in imports(path, late=True))
    }
    assert importers == SOLE_IMPORTERS[library]


@pytest.mark.parametrize("verb", ["current", "next", "current_partition"])
def test_queries_import_nothing_heavy(verb: str, tmp_path: Path):
    (tmp_path / "cmdline").write_text("dfinity.system=A\n")
    (tmp_path / "grubenv").write_bytes(environment_block())
    config = tmp_path / "manageboot.toml"
    slots = "".join(f'[slots.{slot}]\nboot = "/dev/{slot}1"\nroot = "/dev/{slot}2"\n' for slot in "AB")
    config.write_text(f'[boot]\ngrubenv = "{tmp_path}/grubenv"\ncmdline = "{tmp_path}/cmdline"\n{slots}')
    code = (
        f"import sys; from manageboot.cli.main import run; run(['-c', {str(config)!r}, {verb!r}]); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    answer, loaded = done.stdout.splitlines()
    assert answer in {"A", "/dev/A2"}
    heavy = {
        "construct",
        "sh",
        "pyudev",
        "tqdm",
        "systemd",
        "zstandard",
        "tuf",
        "prometheus_client",
        "dataclasses",
        "logging",
        "json",
        "subprocess",
        "pycurl",
    }
    assert not heavy & {name.split(".")[0] for name in loaded.split()}
    # Nobody asked for --debug.
    assert not {"manageboot.system.debug", "grubenv.debug"} & set(loaded.split())
