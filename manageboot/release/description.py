"""What release.json says: which release it is, what it asks of a node, and the size and SHA-256 of each other file."""

import re
from typing import NamedTuple

from manageboot import errors
from manageboot.release.fields import Fields

TYPE = "manageboot-release"
MAJOR, MINOR = 1, 0
"""What is written, and all of which is read. A later minor version only adds to it."""

NAME, INDEX, PACK = "release.json", "release.idx", "full.pack"
ARCHIVES = tuple(f"update-img.tar{ending}" for ending in (".zst", ".gz", ".xz", ".bz2", ""))

DESCRIPTION_BYTES_MAX = 64 << 10
INDEX_BYTES_MAX = 32 << 20
FILE_BYTES_MAX = 1 << 44
IMAGE_BYTES_MAX = 1 << 44
IMAGES_MAX = 16
NAMES_MAX = 64
"""How many systems, and how many kinds of hardware, a release may be for."""
NUMBER_MAX = (1 << 53) - 1
"""The largest integer that every reader of JSON knows exactly."""

VERSION = re.compile("(?!metadata$)[A-Za-z0-9][A-Za-z0-9.+~_-]{0,63}")
"""A version is the name of a directory as well, beside `metadata`."""
ROLE = re.compile("[a-z0-9][a-z0-9_-]{0,31}")
SHA256 = re.compile("[0-9a-f]{64}")

_FORMAT = re.compile(r"([1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})")
_AGENT = re.compile(r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})")
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9.:+_-]{0,63}")


class File(NamedTuple):
    """A file of the release."""

    size: int
    """In bytes."""
    sha256: str
    """In hexadecimal."""


class Image(NamedTuple):
    """One image of the release."""

    role: str
    size: int
    """In bytes, holes included."""
    digest: str
    """That of disk.digest, in hexadecimal."""


class Requirements(NamedTuple):
    """What a node has to be for the release; an empty one asks for nothing."""

    agent: str | None = None
    """The oldest version of manageboot that may install it, as MAJOR.MINOR.PATCH."""
    systems: tuple[str, ...] = ()
    """The systems it is for."""
    hardware: tuple[str, ...] = ()
    """The kinds of hardware it is for."""


class Release(NamedTuple):
    """A release.json."""

    version: str
    release_index: int
    """From 1 to NUMBER_MAX; a later release has a higher one."""
    min_index: int
    """Releases with a lower index are refused once this one is confirmed; 0: this one refuses none."""
    built: int | None
    """When it was built, in whole seconds since 1970; None: nobody said."""
    requires: Requirements
    images: tuple[Image, ...]
    archive_name: str
    archive: File
    idx: File
    pack: File


def parse(content: bytes, name: str = NAME) -> Release:
    """Read a release.json, whose SHA-256 the caller has checked.

    Args:
        content: the whole file.
        name: what messages call it.

    Raises:
        ReleaseTooNewError: it is of a major version that is not known here.
        ReleaseFormatError: it breaks a rule of docs/release-format.md.
    """
    if len(content) > DESCRIPTION_BYTES_MAX:
        cause = f"it has {len(content)} bytes, and {DESCRIPTION_BYTES_MAX} are allowed"
        raise errors.ReleaseFormatError(f"cannot read {name}: {cause}")
    fields = Fields.of(content, name)
    fields.word("type", re.compile(re.escape(TYPE)))
    later = _check_format(fields, name)
    requires = _requirements(fields, later=later)
    images = tuple(_image(one, later=later) for one in fields.inners("images", IMAGES_MAX))
    archive_name, archive, idx, pack = _files(fields, later=later)
    release = Release(
        version=fields.word("version", VERSION),
        release_index=fields.number("index", 1, NUMBER_MAX),
        min_index=fields.number("min_index", 0, NUMBER_MAX, default=0),
        built=fields.number("built", 0, NUMBER_MAX) if fields.has("built") else None,
        requires=requires,
        images=images,
        archive_name=archive_name,
        archive=archive,
        idx=idx,
        pack=pack,
    )
    fields.end(later=later)
    _check_whole(release, fields)
    return release


def encode(release: Release) -> bytes:
    """Write a release.json; the same release always gives the same bytes."""
    import json

    requires = {key: value for key, value in release.requires._asdict().items() if value}
    whole = {
        "type": TYPE,
        "format": f"{MAJOR}.{MINOR}",
        "version": release.version,
        "index": release.release_index,
        "min_index": release.min_index,
        **({} if release.built is None else {"built": release.built}),
        **({"requires": requires} if requires else {}),
        "images": [image._asdict() for image in release.images],
        "files": {
            release.archive_name: release.archive._asdict(),
            INDEX: release.idx._asdict(),
            PACK: release.pack._asdict(),
        },
    }
    return (json.dumps(whole, indent=2) + "\n").encode()


def agent_version(text: str) -> tuple[int, ...]:
    """Return a version MAJOR.MINOR.PATCH in a form that can be compared."""
    return tuple(int(part) for part in text.split("."))


def _check_format(fields: Fields, name: str) -> bool:
    """Return whether the file is of a later minor version, which may have more in it than is known here."""
    major, _, minor = fields.word("format", _FORMAT).partition(".")
    if int(major) != MAJOR:
        cause = f"it is of format {major}.{minor}, and this manageboot reads {MAJOR}.{MINOR}"
        raise errors.ReleaseTooNewError(f"cannot read {name}: {cause}", hint="upgrade manageboot first")
    return int(minor) > MINOR


def _requirements(fields: Fields, *, later: bool) -> Requirements:
    if not fields.has("requires"):
        return Requirements()
    inner = fields.inner("requires")
    requires = Requirements(
        agent=inner.word("agent", _AGENT) if inner.has("agent") else None,
        systems=inner.words("systems", _NAME, NAMES_MAX) if inner.has("systems") else (),
        hardware=inner.words("hardware", _NAME, NAMES_MAX) if inner.has("hardware") else (),
    )
    inner.end(later=later)
    return requires


def _image(fields: Fields, *, later: bool) -> Image:
    image = Image(
        role=fields.word("role", ROLE),
        size=fields.number("size", 1, IMAGE_BYTES_MAX),
        digest=fields.word("digest", SHA256),
    )
    fields.end(later=later)
    return image


def _files(fields: Fields, *, later: bool) -> tuple[str, File, File, File]:
    """Return the name of the archive, the archive, the index and the pack."""
    files = fields.inner("files")
    names = [name for name in ARCHIVES if files.has(name)]
    if len(names) != 1:
        raise files.error(f"one of {', '.join(ARCHIVES)} has to be there, and {len(names)} are")
    found = {name: _file(files.inner(name), later=later) for name in (names[0], INDEX, PACK)}
    files.end(later=later)
    if found[INDEX].size > INDEX_BYTES_MAX:
        raise files.error(f"{INDEX} has {found[INDEX].size} bytes, and {INDEX_BYTES_MAX} are allowed")
    return names[0], found[names[0]], found[INDEX], found[PACK]


def _file(fields: Fields, *, later: bool) -> File:
    file = File(size=fields.number("size", 1, FILE_BYTES_MAX), sha256=fields.word("sha256", SHA256))
    fields.end(later=later)
    return file


def _check_whole(release: Release, fields: Fields) -> None:
    if release.min_index > release.release_index:
        raise fields.error(f"min_index is {release.min_index}, more than index, which is {release.release_index}")
    roles = [image.role for image in release.images]
    if len(set(roles)) < len(roles):
        raise fields.error("a role is in images twice")
