"""Makes a release out of an update image: a directory with its four files, which is there as a whole or not at all."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from manageboot import errors
from manageboot.boot.header import HEADER_BYTES
from manageboot.image import BOOT, ROOT, VERSION, member_name, open_image
from manageboot.image.acceptance import check_whole, checked
from manageboot.image.version import Version, read_version
from manageboot.install import progress
from manageboot.install.imagewriter import no_header
from manageboot.install.progress import Counts, Style
from manageboot.publish.archive import ArchiveWriter
from manageboot.publish.outfile import OutFile
from manageboot.publish.packing import PackedImage, Packer
from manageboot.release import description
from manageboot.release.description import Delta, File, Image, Release, Requirements
from manageboot.release.layout import BLOCK_BYTES
from manageboot.system import files

LEVEL = 19
DICTIONARY_BLOCKS = 512
"""2 MiB. More of it brings nothing for frames of 1 MiB."""
LEVEL_MAX = 22

_COPIED_BYTES = 1 << 20


class Plan(NamedTuple):
    """What kind of release is to be made."""

    output: str
    """The directory that the directory of the release is made in."""
    release_index: int
    min_index: int = 0
    version: str | None = None
    """None: what VERSION.TXT says."""
    built: int | None = None
    """In seconds since 1970; None: it is not told."""
    requires: Requirements = Requirements()
    roles: tuple[str, ...] = ("boot", "root")
    """Of the images that have to be there."""
    any_content: bool = False
    """Whether an image may be what no slot is known to hold."""
    olds: tuple[str, ...] = ()
    """Old releases that deltas are made from: their directories, or archives."""
    dictionary_blocks: int = DICTIONARY_BLOCKS
    """How much old data a frame of a delta may have as its dictionary."""
    level: int = LEVEL
    """Of zstd, for the frames."""
    threads: int | None = None
    """How many compress; None: one for each processor."""
    style: Style = "auto"


def build(images: Sequence[str], plan: Plan) -> str:
    """Make a release.

    Args:
        images: an archive, which becomes part of the release as it is, or a boot image and a root image.
        plan: what kind of release.

    Returns:
        What was made, as a sentence; and one for each delta, on a line of its own.

    Raises:
        UsageError: the plan makes no sense, or nothing says which version it is.
        CreateError: a release of that version is there already, or a file can't be made.
        InputError, DataError, NotPermittedError: the update image can't be read, or is bad.
        DeviceError: reading or writing failed.

    Durability: the directory is on the disk once it returns; before, there is one that begins with `.building-`.
    """
    names = [member_name(role) for role in plan.roles]
    with _workplace(plan.output) as directory:
        stamps = _stamps(images)
        packed, idx, pack, version, update = _pack(images, names, plan, directory)
        _check(packed, plan)
        version_text = _version(plan, version)
        deltas, said = _deltas(plan, directory)
        name, archive = _archive(images, update, packed, version_text, directory, plan)
        if _stamps(images) != stamps:
            raise errors.ImageFormatError(f"cannot read {' and '.join(images)}: it was changed while it was read")
        release = Release(
            version=version_text,
            release_index=plan.release_index,
            min_index=plan.min_index,
            built=plan.built,
            requires=plan.requires,
            images=tuple(Image(image.role, image.whole.size, image.whole.digest) for image in packed),
            archive_name=name,
            archive=archive,
            idx=idx,
            pack=pack,
            deltas=deltas,
        )
        _describe(release, directory)
        path = os.path.join(plan.output, release.version)
        files.put_in_place(directory, path)
    whole = f"{path} holds release {release.version}: {pack.size} bytes in frames, {archive.size} as {name}"
    return "\n".join([whole, *said])


class _Read(NamedTuple):
    """What is left of an update image that was read."""

    format: str
    sha256: str | None


class _Packed(NamedTuple):
    images: list[PackedImage]
    idx: File
    pack: File
    version: Version
    update: _Read


def _pack(images: Sequence[str], names: Sequence[str], plan: Plan, directory: str) -> _Packed:
    version = Version()
    with (
        open_image(images, names) as update,
        progress.step("pack", update.bytes_total, plan.style) as meter,
        OutFile(os.path.join(directory, description.PACK)) as pack,
        Packer(
            pack,
            level=plan.level,
            threads=plan.threads or os.cpu_count() or 1,
            report=lambda: meter.update(Counts(update.bytes_read, pack.size)),
        ) as packer,
    ):
        for member in update.members() if plan.any_content else checked(update):
            if member.name == VERSION:
                version = read_version(member)
            else:
                packer.add(member.name.removesuffix(".img"), member)
        content = packer.finish()
        packed = pack.finish()
        meter.update(Counts(update.bytes_read, pack.size))
        read = _Read(update.format, update.sha256)
    with OutFile(os.path.join(directory, description.INDEX)) as index:
        index.write(content)
        idx = index.finish()
    return _Packed(packer.images, idx, packed, version, read)


def _deltas(plan: Plan, directory: str) -> tuple[tuple[Delta, ...], tuple[str, ...]]:
    """Make the deltas, and say what each costs."""
    if not plan.olds:
        return (), ()
    # Imported here: who makes no deltas needs no numpy.
    from manageboot.publish import delta, deltas

    way = delta.Way(plan.level, plan.dictionary_blocks, plan.threads or os.cpu_count() or 1, plan.style)
    return deltas.make_deltas(plan.olds, directory, plan.roles, way)


def _check(packed: Sequence[PackedImage], plan: Plan) -> None:
    """Refuse what no node would install.

    Raises:
        ImageContentError, ImageMemberError: it is such.
    """
    wholes = {member_name(image.role): image for image in packed}
    if not plan.any_content:
        check_whole({name: image.whole for name, image in wholes.items()})
    loaded = BOOT if "boot" in plan.roles else ROOT
    if loaded in wholes and not _has_header(wholes[loaded]):
        raise no_header(loaded, wholes[loaded].whole.size)


def _has_header(image: PackedImage) -> bool:
    """Tell whether something is where the header is."""
    if not image.windows or image.windows[0].number:
        return False
    first = image.windows[0].operations[0]
    return first.frame is not None or first.blocks * BLOCK_BYTES < min(HEADER_BYTES, image.whole.size)


def _version(plan: Plan, found: Version) -> str:
    version = plan.version or found.text
    hint = "name it with --version"
    if version is None:
        cause = found.problem or f"there is no {VERSION}"
        raise errors.UsageError(f"cannot build a release: nothing says which version it is: {cause}", hint=hint)
    if not description.VERSION.fullmatch(version):
        cause = f"{version!r} can't be the name of a directory: {description.VERSION.pattern}"
        raise errors.UsageError(f"cannot build a release: {cause}", hint=hint)
    return version


def _archive(
    images: Sequence[str], update: _Read, packed: Sequence[PackedImage], version: str, directory: str, plan: Plan
) -> tuple[str, File]:
    """Put the archive beside the pack: the one that was given, or one that is made."""
    if update.sha256 is not None:
        name = f"update-img.{update.format}"
        with OutFile(os.path.join(directory, name)) as file:
            return name, _copy(images[0], file, update.sha256, plan.style)
    name = description.ARCHIVES[0]
    known = {member_name(image.role): image for image in packed}
    with (
        open_image(images, list(known)) as again,
        progress.step("archive", again.bytes_total, plan.style) as meter,
        OutFile(os.path.join(directory, name)) as file,
    ):
        writer = ArchiveWriter(file, report=lambda _: meter.update(Counts(again.bytes_read, file.size)))
        for member in again.members():
            writer.add_image(member, known[member.name])
        writer.add_version(version)
        writer.finish()
        return name, file.finish()


def _copy(path: str, file: OutFile, sha256: str, style: Style) -> File:
    try:
        with open(path, "rb") as source, progress.step("archive", os.fstat(source.fileno()).st_size, style) as meter:
            while piece := source.read(_COPIED_BYTES):
                file.write(piece)
                meter.update(Counts(file.size, file.size))
    except OSError as error:
        raise errors.from_os_error(error, f"read {path}") from error
    copied = file.finish()
    if copied.sha256 != sha256:
        raise errors.ImageFormatError(f"cannot read {path}: it was changed while it was read")
    return copied


def _stamps(images: Sequence[str]) -> list[tuple[int, ...]]:
    """Return what shows that a file was changed; image files are read twice."""
    try:
        found = [os.stat(image) for image in images]
    except OSError as error:
        raise errors.from_os_error(error, f"open {error.filename}", errors.InputError) from error
    for image, status in zip(images, found, strict=True):
        if not stat.S_ISREG(status.st_mode):
            raise errors.InputError(f"cannot open {image}: it is not a regular file, and is read twice")
    return [(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns) for status in found]


def _describe(release: Release, directory: str) -> None:
    """Write release.json, once a node would read it."""
    content = description.encode(release)
    try:
        description.parse(content)
    except errors.ReleaseFormatError as error:
        raise errors.UsageError(f"cannot build a release: {error}") from error
    with OutFile(os.path.join(directory, description.NAME)) as file:
        file.write(content)
        file.finish()


@contextmanager
def _workplace(output: str) -> Iterator[str]:
    """Make a directory that nobody takes for a release; what is left of it in the end is removed."""
    try:
        directory = tempfile.mkdtemp(prefix=".building-", dir=output)
        os.chmod(directory, 0o755)
    except OSError as error:
        raise errors.from_os_error(error, f"make a directory in {output}", errors.CreateError) from error
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def environment_time(environment: Mapping[str, str]) -> int | None:
    """Return the time that SOURCE_DATE_EPOCH says, in seconds since 1970; None: it says none.

    Raises:
        UsageError: it says something else.
    """
    text = environment.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not int(text) <= description.NUMBER_MAX:
        raise errors.UsageError(f"cannot run: SOURCE_DATE_EPOCH is {text!r}, and has to be seconds since 1970")
    return int(text)
