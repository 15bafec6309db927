"""Ways to the code words of `manageboot release`."""

from pathlib import Path

from manageboot.publish import keys, root
from manageboot.publish.root import Changes
from support.node import Node
from support.releases import small_release

SMALL = small_release({"boot": b"boot" * 100, "root": b"root" * 100})


def other_directory(node: Node, patch: object) -> list[str | Path]:
    SMALL.write(node.directory / "2.0")
    return ["release", "check", node.directory / "2.0"]


def later_format(node: Node, patch: object) -> list[str | Path]:
    SMALL._replace(description=SMALL.description.replace(b'"1.0",\n  "v', b'"2.0",\n  "v')).write(
        node.directory / "1.0"
    )
    return ["release", "check", node.directory / "1.0"]


def damaged_pack(node: Node, patch: object) -> list[str | Path]:
    SMALL._replace(pack=bytes(len(SMALL.pack))).write(node.directory / "1.0")
    return ["release", "check", node.directory / "1.0"]


def no_root(node: Node, patch: object) -> list[str | Path]:
    return ["release", "sign", node.directory, "--key", "none"]


def one_key_of_three(node: Node, patch: object) -> list[str | Path]:
    for name in ("top", "targets", "snapshot", "timestamp"):
        keys.generate(str(node.directory / name))
    files = {"root": "top", "targets": "targets", "snapshot": "snapshot", "timestamp": "timestamp"}
    added = [(role, str(node.directory / f"{name}.pub")) for role, name in files.items()]
    root.change(str(node.directory), Changes(added, thresholds=[("root", 1)]), [str(node.directory / "top")])
    return ["release", "sign", node.directory, "--key", node.directory / "timestamp"]


WAYS = {
    "RELEASE_FORMAT": other_directory,
    "RELEASE_TOO_NEW": later_format,
    "RELEASE_SHA256": damaged_pack,
    "METADATA": no_root,
    "SIGNATURES_MISSING": one_key_of_three,
}
