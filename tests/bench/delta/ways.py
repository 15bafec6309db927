"""The ways by which a new image comes to a node that has the old one; each has a form of its own to publish it in."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench.contestant import Command
from bench.delta import raucguest
from bench.delta.pairs import Images
from bench.node import make_node
from bench.payload import run
from manageboot.release import description

_OLD, _NEW = "1.0", "1.1"
_ARCHIVE = description.ARCHIVES[0]

_SLOTS = """\
[slots]
written = ["root"]
wiped = []
[slots.A]
root = "{old}"
[slots.B]
root = "{new}"
[delta]
use = {use}
"""


class Stage(NamedTuple):
    """What each of them finds."""

    images: Images
    www: Path
    """What the server gives."""
    level: int
    """Of zstd, for the frames of releases."""
    old: str
    """The device that holds the old image."""
    new: str
    """The device that the new one goes to."""
    work: Path
    """A folder that is made anew for each run."""
    runtime: Path
    """The same, in memory."""


class Way(NamedTuple):
    """One way."""

    name: str
    publish: Callable[[Stage, Path], None]
    """Fills its folder of the server."""
    folder: str
    command: Callable[[Stage, str], Command]
    """Makes the node ready, and returns the command that is measured; it is given the URL of the folder."""
    program: str = "zstd"
    """What has to be installed."""
    in_guest: bool = False
    """Whether it runs in a node in QEMU, so that only bytes and requests are its own."""


def publish(way: Way, stage: Stage) -> None:
    """Let a way publish, unless it has."""
    folder = stage.www / way.folder
    if not folder.exists():
        partial = stage.www / f".{way.folder}.part"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        way.publish(stage, partial)
        partial.rename(folder)


def _releases(stage: Stage, folder: Path) -> None:
    old: list[str | Path] = []
    for number, (version, image) in enumerate(((_OLD, stage.images.old), (_NEW, stage.images.new)), 1):
        content = folder / "content"
        content.mkdir()
        (content / "VERSION.TXT").write_text(f"{version}\n")
        (content / "root.img").symlink_to(image)
        archive = folder / _ARCHIVE
        run("tar", "--create", "--dereference", "--sparse", "--use-compress-program=zstd --quiet -8 --long=27",
            "--file", archive, "root.img", "VERSION.TXT", cwd=content)  # fmt: skip
        # Nobody fetches the old one.
        level = stage.level if version == _NEW else 3
        options = ["--output", folder, "--index", str(number), "--role", "root", "--level", str(level)]
        # In a process of its own: what this one needs would count as the peak of the commands that it starts.
        run(sys.executable, "-m", "manageboot", "release", "build", archive, *options, *old)
        old = ["--from", folder / version]
        archive.unlink()
        shutil.rmtree(content)


def _release(*, use_delta: bool) -> Callable[[Stage, str], Command]:
    def command(stage: Stage, url: str) -> Command:
        node = _node(stage, use_delta=use_delta)
        return [*node, "upgrade-install", f"{url}{_NEW}/", "--release-sha256", _digest(stage, _NEW, description.NAME)]

    return command


def _archive(stage: Stage, url: str) -> Command:
    node = _node(stage, use_delta=False)
    return [*node, "upgrade-install", f"{url}{_NEW}/{_ARCHIVE}", "--sha256", _digest(stage, _NEW, _ARCHIVE)]


def _unpack(stage: Stage, url: str) -> Command:
    return ["sh", "-c", f"zstd -dcq --long=27 {stage.www}/manageboot/{_NEW}/{_ARCHIVE} >/dev/null"]


def _node(stage: Stage, *, use_delta: bool) -> Command:
    """Make a node whose booted slot holds the old release, as far as it knows."""
    held = {"version": _OLD, "index": 1, "min_index": 0, "signed_by": [], "transaction": "aa"}
    slots = {"A": held | {"sha256": _digest(stage, _OLD, description.NAME)}}
    floor = {"schema": 1, "index": 1, "min_index": 0, "slots": slots}
    (stage.work / "manageboot.floor").write_text(json.dumps(floor))
    slots = _SLOTS.format(old=stage.old, new=stage.new, use=str(use_delta).lower())
    return make_node(stage.work, stage.runtime, slots)


def _digest(stage: Stage, version: str, name: str) -> str:
    with (stage.www / "manageboot" / version / name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _patch(stage: Stage, folder: Path) -> None:
    run("zstd", "--quiet", "-12", "--long=31", f"--patch-from={stage.images.old}", stage.images.new,
        "-o", folder / "patch")  # fmt: skip


def _apply_patch(stage: Stage, url: str) -> Command:
    # It maps a file; a device has no size for it.
    unpack = f"zstd -dcq --long=31 --patch-from={stage.images.old}"
    return _shell(f"curl --silent --show-error --fail {url}patch | {unpack} | {_to_device(stage)}")


def _casync(stage: Stage, folder: Path) -> None:
    run("casync", "make", f"--store={folder}/default.castr", folder / "root.caibx", stage.images.new)


def _casync_extract(stage: Stage, url: str) -> Command:
    script = f"casync extract --store={url}default.castr --seed={stage.old} {url}root.caibx {stage.new}"
    return _shell(f"{script}; sync {stage.new}")


def _zchunk(stage: Stage, folder: Path) -> None:
    for name, image in (("old", stage.images.old), ("new", stage.images.new)):
        run("zck", "--output", folder / f"{name}.zck", image)


def _zchunk_download(stage: Stage, url: str) -> Command:
    # The old file lies on the node for this, compressed, beside the slot that it was written to.
    fetch = f"zckdl --quiet --source {stage.www}/zchunk/old.zck {url}new.zck"
    return _shell(f'cd "$TMPDIR"; {fetch}; unzck --stdout new.zck | {_to_device(stage)}; rm new.zck')


def _rauc(stage: Stage, folder: Path) -> None:
    raucguest.publish(stage.images.new, folder)


def _rauc_install(stage: Stage, url: str) -> Command:
    certificate = stage.www / "rauc" / raucguest.CERTIFICATE
    # It runs in a folder of its own, where what is imported from is not.
    search = ":".join(str(Path(entry).absolute()) for entry in sys.path if entry)
    words = [
        sys.executable,
        "-m",
        "bench.delta.raucguest",
        f"{url}{raucguest.BUNDLE}",
        certificate,
        stage.old,
        stage.new,
    ]
    return ["env", f"PYTHONPATH={search}", *words]


def _to_device(stage: Stage) -> str:
    return f"dd of={stage.new} bs=1M iflag=fullblock oflag=direct conv=fsync status=none"


def _shell(script: str) -> Command:
    return ["bash", "-e", "-o", "pipefail", "-c", script]


FLOOR, FULL, DELTA, ARCHIVE = "zstd -dc of the archive", "manageboot, full", "manageboot, delta", "manageboot, archive"
_MANAGEBOOT = "manageboot"
WAYS = (
    Way(FLOOR, _releases, _MANAGEBOOT, _unpack),
    Way(ARCHIVE, _releases, _MANAGEBOOT, _archive),
    Way(FULL, _releases, _MANAGEBOOT, _release(use_delta=False)),
    Way(DELTA, _releases, _MANAGEBOOT, _release(use_delta=True)),
    Way("zstd --patch-from", _patch, "patch", _apply_patch),
    Way("casync", _casync, "casync", _casync_extract, "casync"),
    Way("zchunk", _zchunk, "zchunk", _zchunk_download, "zckdl"),
    Way("RAUC, adaptive", _rauc, "rauc", _rauc_install, "qemu-system-x86_64", in_guest=True),
)
