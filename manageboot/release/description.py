"""What release.json says: which release it is, what it asks of a node, and the size and SHA-256 of each other file."""

import re
from typing import NamedTuple

from manageboot import errors
from manageboot.release.fields import Fields

TYPE = "manageboot-release"
MAJOR, MINOR = 1, 1
"""All of which is read. A later minor version only adds to it, so what is written is the first that has it all."""
_MINOR_OF_DELTAS = 1

NAME, INDEX, PACK = "release.json", "release.idx", "full.pack"
ARCHIVES = tuple(f"update-img.tar{ending}" for ending in (".zst", ".gz", ".xz", ".bz2", ""))

DESCRIPTION_BYTES_MAX = 64 << 10
INDEX_BYTES_MAX = 32 << 20
FILE_BYTES_MAX = 1 << 44
IMAGE_BYTES_MAX = 1 << 44
IMAGES_MAX = 16
DELTAS_MAX = 32
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


class Delta(NamedTuple):
    """How a node that has an older release gets this one; an old release that a slot holds is its seed."""

    version: str
    """Of the old release, as all but the last two."""
    release_index: int | None
    """None: it was never published as a release, but as an archive."""
    sha256: str | None
    """Of its release.json, in hexadecimal; None: it has none."""
    images: tuple[Image, ...]
    """What a seed holds: whoever has these images has a seed, wherever they are from."""
    idx: File
    pack: File
    """Empty if the old images have everything."""

    @property
    def idx_name(self) -> str:
        """The name of its index."""
        return f"from-{self.version}.idx"

    @property
    def pack_name(self) -> str:
        """The name of its pack."""
        return f"from-{self.version}.pack"


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
    deltas: tuple[Delta, ...] = ()


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
    minor = _check_format(fields, name)
    later = minor > MINOR
    requires = _requirements(fields, later=later)
    images = _images(fields, later=later)
    files = fields.inner("files")
    archive_name, archive, idx, pack = _files(files, later=later)
    deltas: tuple[Delta, ...] = ()
    if minor >= _MINOR_OF_DELTAS and fields.has("deltas"):
        deltas = tuple(_delta(one, files, later=later) for one in fields.inners("deltas", DELTAS_MAX))
    files.end(later=later)
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
        deltas=deltas,
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
        "format": f"{MAJOR}.{_MINOR_OF_DELTAS if release.deltas else 0}",
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
            **{delta.idx_name: delta.idx._asdict() for delta in release.deltas},
            **{delta.pack_name: delta.pack._asdict() for delta in release.deltas},
        },
        **({"deltas": [_encoded(delta) for delta in release.deltas]} if release.deltas else {}),
    }
    return (json.dumps(whole, indent=2) + "\n").encode()


def _encoded(delta: Delta) -> dict[str, object]:
    return {
        "version": delta.version,
        **({} if delta.release_index is None else {"index": delta.release_index}),
        **({} if delta.sha256 is None else {"sha256": delta.sha256}),
        "images": [image._asdict() for image in delta.images],
    }


def agent_version(text: str) -> tuple[int, ...]:
    """Return a version MAJOR.MINOR.PATCH in a form that can be compared."""
    return tuple(int(part) for part in text.split("."))


def _check_format(fields: Fields, name: str) -> int:
    """Return the minor version; of a later one, the file may have more in it than is known here."""
    major, _, minor = fields.word("format", _FORMAT).partition(".")
    if int(major) != MAJOR:
        cause = f"it is of format {major}.{minor}, and this manageboot reads {MAJOR}.{MINOR}"
        raise errors.ReleaseTooNewError(f"cannot read {name}: {cause}", hint="upgrade manageboot first")
    return int(minor)


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


def _images(fields: Fields, *, later: bool) -> tuple[Image, ...]:
    images = tuple(_image(one, later=later) for one in fields.inners("images", IMAGES_MAX))
    if len({image.role for image in images}) < len(images):
        raise fields.error("a role is in images twice")
    return images


def _image(fields: Fields, *, later: bool) -> Image:
    image = Image(
        role=fields.word("role", ROLE),
        size=fields.number("size", 1, IMAGE_BYTES_MAX),
        digest=fields.word("digest", SHA256),
    )
    fields.end(later=later)
    return image


def _files(files: Fields, *, later: bool) -> tuple[str, File, File, File]:
    """Return the name of the archive, the archive, the index and the pack."""
    names = [name for name in ARCHIVES if files.has(name)]
    if len(names) != 1:
        raise files.error(f"one of {', '.join(ARCHIVES)} has to be there, and {len(names)} are")
    found = {name: _file(files.inner(name), later=later) for name in (names[0], INDEX, PACK)}
    _check_index(files, INDEX, found[INDEX])
    return names[0], found[names[0]], found[INDEX], found[PACK]


def _delta(fields: Fields, files: Fields, *, later: bool) -> Delta:
    delta = Delta(
        version=fields.word("version", VERSION),
        release_index=fields.number("index", 1, NUMBER_MAX) if fields.has("index") else None,
        sha256=fields.word("sha256", SHA256) if fields.has("sha256") else None,
        images=_images(fields, later=later),
        idx=File(0, ""),
        pack=File(0, ""),
    )
    fields.end(later=later)
    if not files.has(delta.idx_name):
        raise files.error(f"{delta.idx_name} is not there, or there are two deltas from {delta.version}")
    idx = _file(files.inner(delta.idx_name), later=later)
    _check_index(files, delta.idx_name, idx)
    return delta._replace(idx=idx, pack=_file(files.inner(delta.pack_name), later=later, least=0))


def _check_index(files: Fields, name: str, idx: File) -> None:
    if idx.size > INDEX_BYTES_MAX:
        raise files.error(f"{name} has {idx.size} bytes, and {INDEX_BYTES_MAX} are allowed")


def _file(fields: Fields, *, later: bool, least: int = 1) -> File:
    file = File(size=fields.number("size", least, FILE_BYTES_MAX), sha256=fields.word("sha256", SHA256))
    fields.end(later=later)
    return file


def _check_whole(release: Release, fields: Fields) -> None:
    if release.min_index > release.release_index:
        raise fields.error(f"min_index is {release.min_index}, more than index, which is {release.release_index}")
    if any(delta.version == release.version for delta in release.deltas):
        raise fields.error(f"there is a delta from {release.version}, which is this release")
