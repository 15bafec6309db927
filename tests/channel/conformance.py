#!/usr/bin/env python3
"""The client as theupdateframework/tuf-conformance drives one: `init`, `refresh` and `download` of a command line.

That suite serves repositories over http on loopback, which is its own and not the program's: what it serves is read by
urllib here, and everything else is what a node does. It is fetched and run outside of this repository, with the
`python3` of this one first in PATH:

    pytest tuf-conformance/tuf_conformance --entrypoint=$PWD/tests/channel/conformance.py

What is not to pass is in conformance.py.xfails, and docs/channel.md has the reasons.
"""

import argparse
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

from manageboot import errors
from manageboot.channel import trust
from manageboot.channel.directory import Directory
from manageboot.channel.kept import Kept


class Served(Directory):
    """A place on a loopback server, of which metadata is read, and no pack."""

    def __init__(self, metadata_url: str) -> None:
        super().__init__(metadata_url.rstrip("/"))

    def read(self, path: str, limit_bytes: int, **_: object) -> bytes:
        url = f"{self.name}/{path.removeprefix('metadata/')}"
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                # What is longer than anybody may read is cut, and too long all the same.
                return bytes(response.read(limit_bytes + 1))
        except urllib.error.URLError as error:
            raise errors.InputError(f"cannot open {url}: {error}") from error


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="conformance")
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url")
    parser.add_argument("--target-name", action="append")
    parser.add_argument("--target-base-url")
    parser.add_argument("--target-dir", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    options = parser.parse_args(arguments)
    if options.command == "init":
        options.metadata_dir.mkdir(parents=True, exist_ok=True)
        shutil.copy(options.root, options.metadata_dir / "first.root")
        write(
            options.metadata_dir, Kept({trust.root_version(options.root.read_bytes(), "it"): options.root.read_bytes()})
        )
        return 0
    place = Served(options.metadata_url)
    root = (options.metadata_dir / "first.root").read_bytes()
    try:
        found = trust.refresh(place, root, read(options.metadata_dir, root), least_time=0)
    except trust.RefusedPlaceError as refused:
        write(options.metadata_dir, refused.kept)
        print(refused.error, file=sys.stderr)
        return 1
    write(options.metadata_dir, found.kept)
    if options.command == "refresh":
        return 0
    return 0 if all(download(options, found, name) for name in options.target_name) else 1


def download(options: argparse.Namespace, found: trust.Trusted, name: str) -> bool:
    """Load a target from where the suite has it: its name begins with a digest of it there. Say whether it is good."""
    target = found.targets.get(name)
    if target is None:
        return False
    folder, _, last = name.rpartition("/")
    digest = next(iter(target.hashes.values()))
    url = f"{options.target_base_url.rstrip('/')}/{folder}{'/' if folder else ''}{digest}.{last}"
    try:
        content = urllib.request.urlopen(url, timeout=30).read(target.length + 1)
        found.verify(name, content, url)
    except (OSError, errors.ManagebootError) as error:
        print(error, file=sys.stderr)
        return False
    (options.target_dir / name.replace("/", "%2F")).write_bytes(content)
    return True


def read(directory: Path, root: bytes) -> Kept:
    """Read what was kept, from files as the suite looks at them."""
    roots = {int(path.name.split(".")[0]): path.read_bytes() for path in (directory / "root_history").glob("*.json")}
    names = [role for role in ("timestamp", "snapshot", "targets") if (directory / f"{role}.json").exists()]
    roles = {role: (directory / f"{role}.json").read_bytes() for role in names}
    return Kept(roots or {trust.root_version(root, "it"): root}, roles)


def write(directory: Path, kept: Kept) -> None:
    """Write what is kept, as files that the suite looks at."""
    (directory / "root_history").mkdir(exist_ok=True)
    for version, content in kept.roots.items():
        (directory / "root_history" / f"{version}.root.json").write_bytes(content)
    (directory / "root.json").write_bytes(kept.roots[max(kept.roots)])
    for role, content in kept.roles.items():
        (directory / f"{role}.json").write_bytes(content)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
