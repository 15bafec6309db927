"""Reads a release to its last byte, as a node would and more: the archive has to hold the same images as the pack."""

import hashlib
import os
import tempfile

from manageboot import errors
from manageboot.disk.buffer import aligned_buffer
from manageboot.disk.digest import WINDOW_BYTES
from manageboot.image import VERSION, member_name, open_image
from manageboot.install import progress
from manageboot.install.progress import Counts, Meter, Style
from manageboot.publish import metadata
from manageboot.publish.old import read_old
from manageboot.publish.packfile import PackFile
from manageboot.publish.proving import check_delta
from manageboot.release import delta, description, index
from manageboot.release.description import File, Release
from manageboot.release.frames import Unpacker
from manageboot.release.index import Index, check_file
from manageboot.release.windows import WindowReader


def check_release(directory: str, style: Style) -> tuple[bytes, Release]:
    """Check each frame, each window, each image, and the archive.

    Args:
        directory: of the release; it bears the name of the version.
        style: how to show how far it is.

    Returns:
        The content of release.json, and what it says.

    Raises:
        ReleaseDigestError, ReleaseFormatError, ReleaseTooNewError: a file is not what it has to be.
        InputError, NotPermittedError, DeviceError: a file can't be read.
        DataError: the archive is bad.
    """
    path = os.path.join(directory, description.NAME)
    content = metadata.read_bytes(path)
    release = description.parse(content, path)
    name = os.path.basename(os.path.abspath(directory))
    if name != release.version:
        raise errors.ReleaseFormatError(f"cannot accept {path}: it is of version {release.version}, not {name}")
    total = release.pack.size + release.archive.size
    with progress.step("check", total, style) as meter:
        path = os.path.join(directory, description.INDEX)
        idx = index.verified(metadata.read_bytes(path, description.INDEX_BYTES_MAX), release, path)
        _check_pack(os.path.join(directory, description.PACK), release, idx, meter)
        _check_archive(os.path.join(directory, release.archive_name), release, meter)
    _check_deltas(directory, release, idx, style)
    return content, release


def _check_pack(path: str, release: Release, idx: Index, meter: Meter) -> None:
    with PackFile(path) as pack:
        _check_whole(pack, release.pack)
        reader = WindowReader(idx, pack.read, Unpacker(idx, path))
        buffer = memoryview(aligned_buffer(WINDOW_BYTES))
        for number, image in enumerate(idx.images):
            for window in idx.windows(number):
                reader.fill(image, window, buffer)
                last = max((one.frame for one in window.operations if one.frame is not None), default=0)
                meter.update(Counts(idx.offsets[last]))
    meter.update(Counts(release.pack.size))


def _check_whole(pack: PackFile, published: File) -> None:
    try:
        sha256 = hashlib.file_digest(pack.file, "sha256").hexdigest()
    except OSError as error:
        raise errors.from_os_error(error, f"read {pack.path}") from error
    check_file(pack.path, published.size, published.sha256, pack.file.tell(), sha256)


def _check_deltas(directory: str, release: Release, idx: Index, style: Style) -> None:
    """Check the files of deltas; and what they give, where the old release is beside the new one."""
    for one in release.deltas:
        path = os.path.join(directory, one.idx_name)
        found = delta.verified(metadata.read_bytes(path, description.INDEX_BYTES_MAX), idx, one, path)
        path = os.path.join(directory, one.pack_name)
        with PackFile(path) as pack:
            _check_whole(pack, one.pack)
        beside = os.path.join(os.path.dirname(os.path.abspath(directory)), one.version)
        if not os.path.lexists(os.path.join(beside, description.NAME)):
            continue
        with tempfile.TemporaryDirectory() as place:
            old = read_old(beside, (), place, style)
            if old.images != one.images:
                raise errors.ReleaseFormatError(f"cannot accept {path}: {beside} has other images than it is from")
            check_delta(found, path, old.contents, style)


def _check_archive(path: str, release: Release, meter: Meter) -> None:
    names = {member_name(image.role): image for image in release.images}
    with open_image([path], list(names)) as archive:
        for member in archive.members():
            if member.name == VERSION:
                continue
            digest = member.digest(lambda: meter.update(Counts(release.pack.size + archive.bytes_read)))
            found = digest.hexdigest(member.size)
            image = names[member.name]
            if (member.size, found) != (image.size, image.digest):
                cause = f"its {member.name} is not the image of {image.role} that is in the pack"
                raise errors.ReleaseFormatError(f"cannot accept {path}: {cause}")
        check_file(path, release.archive.size, release.archive.sha256, archive.bytes_read, archive.sha256 or "")
