"""A medium with signed releases for nodes in QEMU: as published at first, and once who may sign was changed."""

import importlib.util
import os
import shutil
from pathlib import Path

import tuf

from manageboot.publish import build, keys
from manageboot.publish.build import Plan
from qemu_harness import debian
from qemu_harness.cache import Cache, content_key
from qemu_harness.debian import Release, make_root
from qemu_harness.filesystem import make_ext4
from qemu_harness.slot import SlotImages
from support import repository
from support.repository import OTHERS, Repository

FIRST, SECOND = "/media/first", "/media/second"
"""Where they lie on the node: the second has one release more, and another key of targets."""
FURNITURE = "/media/node"
"""What docs/channel.md wants in the root of a node lies there: python-tuf, and what it needs."""
WHEELS_PLACE = "usr/lib/manageboot/channel"
"""Where in there a node of Debian 12 has it."""
TINY, TINY_INDEX = "1.0", 1
"""A release that no node should take any more."""
INDEX, MIN_INDEX = 3, 2
"""Of the release in both; the next one has the next index."""

_MEDIUM_BYTES = 2 << 30
"""Sparse."""
_DAYS = dict.fromkeys(OTHERS, 700)
"""The medium is kept for as long as nothing of it changes."""
_WHEELS = ("tuf", "securesystemslib", "urllib3")
_PACKAGES = ("python3-tuf", "python3-requests")
_DIST_PACKAGES = "usr/lib/python3/dist-packages"
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"


class Publisher(Repository):
    """Who publishes whole systems."""

    def begin(self) -> None:
        """Publish the tiny release, and be the root of trust."""
        self.make()
        keys.generate(str(self.keys / "other"))

    def add(self, images: SlotImages, index: int, *olds: str, by: tuple[str, ...] = OTHERS) -> None:
        """Publish a system, with deltas from older ones."""
        plan = Plan(
            str(self.www), index, version=images.version, min_index=MIN_INDEX, level=1, threads=2, style="none",
            olds=tuple(str(self.www / old) for old in olds),
        )  # fmt: skip
        build.build([str(images.boot), str(images.root)], plan)
        self.sign(images.version, by=by, days=_DAYS)

    def exchange_the_key_of_targets(self) -> tuple[str, ...]:
        """Publish a new root; return the names of the keys that sign from now on."""
        old = [("targets", str(self.keys / "targets.pub"))]
        self.change_root("root1", "root2", add=[("targets", "other")], remove=old)
        return ("other", *OTHERS[1:])


def build_signed_media(cache: Cache, release: Release, images: SlotImages, following: SlotImages) -> Path:
    """Give an image with the label `media` that holds signed releases, and what nodes verify them with.

    Args:
        cache: of the harness.
        release: of Debian, which the nodes run.
        images: of the release that is there at first.
        following: those of the next one, which has a delta from it.
    """
    names = [one.root.parent.name for one in (images, following)]
    modules = (Path(__file__), Path(repository.__file__), Path(debian.__file__))
    key = content_key(release.value, tuf.__version__, *names, *modules)
    return cache.entry("media", key, lambda made: _build(cache, made, release, images, following)) / "media.img"


def _build(cache: Cache, directory: Path, release: Release, images: SlotImages, following: SlotImages) -> None:
    publisher, content = Publisher(directory / "publisher"), directory / "content"
    publisher.begin()
    publisher.add(images, INDEX)
    # What does not change has one place on the medium.
    shutil.copytree(publisher.www, content / Path(FIRST).name, copy_function=os.link)
    signers = publisher.exchange_the_key_of_targets()
    publisher.add(following, INDEX + 1, images.version, by=signers)
    shutil.copytree(publisher.www, content / Path(SECOND).name, copy_function=os.link)
    _furnish(cache, release, content / Path(FURNITURE).name)
    identifier = "5c2b1e0a-7f0d-4a52-9d6c-2f0f3b6a9c11"
    make_ext4(directory / "media.img", _MEDIUM_BYTES, label="media", uuid=identifier, content=content)
    for left in (publisher.www.parent, content):
        shutil.rmtree(left)


def _furnish(cache: Cache, release: Release, directory: Path) -> None:
    """Copy what docs/channel.md asks for: three wheels on Debian 12, or packages of Debian 13."""
    if release is Release.BOOKWORM:
        for name in _WHEELS:
            spec = importlib.util.find_spec(name)
            assert spec and spec.origin
            target = directory / WHEELS_PLACE / name
            shutil.copytree(Path(spec.origin).parent, target, ignore=shutil.ignore_patterns("__pycache__"))
        return
    key = content_key(release.value, *_PACKAGES, Path(debian.__file__))
    made = cache.entry("tuf", key, lambda made: make_root(made / "root", release, _PACKAGES, variant="extract"))
    shutil.copytree(made / "root" / _DIST_PACKAGES, directory / _DIST_PACKAGES, symlinks=True)
    # As the package does that has them, when it is set up.
    authorities = sorted((made / "root/usr/share/ca-certificates").rglob("*.crt"))
    (directory / _CERTIFICATES).parent.mkdir(parents=True)
    (directory / _CERTIFICATES).write_bytes(b"".join(path.read_bytes() for path in authorities))
