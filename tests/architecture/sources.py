"""The source files, and what each of them imports."""

import ast
from functools import cache
from pathlib import Path

import grubenv
import manageboot

ROOT = Path(manageboot.__file__).parent
GRUBENV = Path(grubenv.__file__).parent
TESTS = Path(__file__).parents[1]


@cache
def modules() -> dict[str, Path]:
    """Find the modules of both packages, by their full names."""
    found = {}
    for package in (ROOT, GRUBENV):
        for path in package.rglob("*.py"):
            parts = path.relative_to(package.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(path: Path, *, late: bool) -> frozenset[str]:
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
            names |= (members & modules().keys()) or {node.module}
    return frozenset(names)
