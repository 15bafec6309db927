"""The old release that a delta is from: a release, or the archive of one, read and unpacked."""

import hashlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from manageboot import errors
from manageboot.image import VERSION, Member, UpdateImage, member_name, open_image
from manageboot.image.version import Version, read_version
from manageboot.install import progress
from manageboot.install.progress import Counts, Style
from manageboot.publish import content, metadata
from manageboot.publish.content import Content
from manageboot.release import description, index
from manageboot.release.description import Image, Release


class Old(NamedTuple):
    """An old release, unpacked."""

    version: str
    release_index: int | None
    sha256: str | None
    """Of its release.json, in hexadecimal; None: it has none."""
    images: tuple[Image, ...]
    contents: list[Content]
    """Of each image, in the same order."""
    release: Release | None = None
    """What its release.json says; None: it has none."""


def read_old(path: str, roles: tuple[str, ...], directory: str, style: Style) -> Old:
    """Read an old release and verify it.

    Args:
        path: the directory of a release, or an archive.
        roles: of the images that an archive has to have.
        directory: where the images are unpacked.
        style: how to show how far it is.

    Raises:
        UsageError: it is an archive, and does not say which version it is.
        DataError, InputError, CreateError, NotPermittedError, DeviceError: it is bad, or can't be read or unpacked.
    """
    if os.path.isdir(path):
        return _release(path, directory, style)
    return _archive(path, roles, directory, style)


def _release(path: str, directory: str, style: Style) -> Old:
    name = os.path.join(path, description.NAME)
    described = metadata.read_bytes(name, description.DESCRIPTION_BYTES_MAX)
    release = description.parse(described, name)
    name = os.path.join(path, description.INDEX)
    idx = index.verified(metadata.read_bytes(name, description.INDEX_BYTES_MAX), release, name)
    pack = os.path.join(path, description.PACK)
    with progress.step("unpack", release.pack.size, style) as meter:
        contents = content.from_pack(idx, pack, directory, lambda done: meter.update(Counts(done)))
        meter.update(Counts(release.pack.size))
    sha256 = hashlib.sha256(described).hexdigest()
    return Old(release.version, release.release_index, sha256, release.images, contents, release)


def _archive(path: str, roles: tuple[str, ...], directory: str, style: Style) -> Old:
    version = Version()

    def images(archive: UpdateImage) -> Iterator[Member]:
        nonlocal version
        for member in archive.members():
            if member.name == VERSION:
                version = read_version(member)
            else:
                yield member

    with (
        open_image([path], [member_name(role) for role in roles]) as archive,
        progress.step("unpack", archive.bytes_total, style) as meter,
    ):
        found = content.from_members(images(archive), directory, lambda: meter.update(Counts(archive.bytes_read)))
    if version.text is None:
        cause = version.problem or f"there is no {VERSION}"
        raise errors.UsageError(f"cannot make a delta from {path}: nothing says which version it is: {cause}")
    described = tuple(Image(one.role, size, digest) for one, size, digest in found)
    return Old(version.text, None, None, described, [one for one, _, _ in found])
