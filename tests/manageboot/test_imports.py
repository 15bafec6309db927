"""The house: imports go one way, heavy libraries stay with their one importer, and queries do without them."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import grubenv
import manageboot

ROOT = Path(manageboot.__file__).parent
GRUBENV = Path(grubenv.__file__).parent

SOLE_IMPORTERS = {
    "sh": {"manageboot.process"},
    "systemd": {"manageboot.journal", "manageboot.notify"},
    "pyudev": {"manageboot.devices", "manageboot.devicewatch"},
    "tqdm": {"manageboot.progress"},
    "prometheus_client": {"manageboot.metrics"},
    "construct": {"grubenv.layout"},
}


def modules() -> dict[str, Path]:
    found = {}
    for package in (ROOT, GRUBENV):
        for path in package.rglob("*.py"):
            parts = path.relative_to(package.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, *, late: bool) -> set[str]:
    """The modules that a file imports: at its top, or anywhere with `late`; those for types alone do not count."""
    tree = ast.parse(path.read_text())
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    nodes = ast.walk(tree) if late else iter(tree.body)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` needs the module; `from module import name` the module that has the name.
            names |= (members & set(modules())) or {node.module}
    return names


def test_no_circles_not_even_of_late_imports():
    known = modules()
    graph = {name: imports(path, late=True) & set(known) - {name} for name, path in known.items()}
    # Raises CycleError, which names the circle.
    assert set(TopologicalSorter(graph).static_order()) >= set(known)


def test_only_the_front_door_is_at_the_top():
    known = modules()
    for name, path in known.items():
        if name not in {"manageboot.cli", "manageboot.__main__"} and not name.startswith("manageboot.icos"):
            assert "manageboot.cli" not in imports(path, late=True), name


def test_the_protocol_is_pure():
    assert imports(ROOT / "protocol.py", late=True) == {"enum", "typing", "manageboot.errors"}


def test_grubenv_knows_nothing_of_manageboot():
    for path in GRUBENV.rglob("*.py"):
        assert not any(name.split(".")[0] == "manageboot" for name in imports(path, late=True)), path


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
    (tmp_path / "grubenv").write_bytes(b"# GRUB Environment Block\n".ljust(1024, b"#"))
    config = tmp_path / "manageboot.toml"
    slots = "".join(f'[slots.{slot}]\nboot = "/dev/{slot}1"\nroot = "/dev/{slot}2"\n' for slot in "AB")
    config.write_text(f'[boot]\ngrubenv = "{tmp_path}/grubenv"\ncmdline = "{tmp_path}/cmdline"\n{slots}')
    code = f"import sys; from manageboot.cli import run; run(['-c', {str(config)!r}, {verb!r}]); print(*sys.modules)"
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
        "prometheus_client",
        "dataclasses",
        "logging",
        "json",
        "subprocess",
    }
    assert not heavy & {name.split(".")[0] for name in loaded.split()}
