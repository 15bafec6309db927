"""An update image that is an archive, and the rules for what may be in it."""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from manageboot.errors import ImageMemberError
from manageboot.image import content, tar
from manageboot.image.decompress import compression_name, open_decoder
from manageboot.image.member import VERSION, Member, ReadData
from manageboot.image.source import Input, Source
from manageboot.image.tar import Entry, TarReader
from manageboot.image.tarheader import shown

MAX_IGNORED_SIZE = 64 << 30  # bytes in the archive, all ignored members together; reading them takes a minute or two

_MOST_SHOWN = 3  # of the members that are there instead of those that are missing


class _Ignored(NamedTuple):
    """A member that has no place in an update image."""

    name: str
    what: str | None  # that it is, where its head tells


class Archive:
    """An archive, read as a stream; what the methods promise stands at UpdateImage."""

    def __init__(self, path: str | Input, images: Sequence[str]) -> None:
        """Open an archive, or standard input for `-`, and see from its first bytes what it is.

        Args:
            path: the archive, or where it comes from.
            images: the names of the images that it has to have.
        """
        self._images = images
        self._source = Source(path)
        self.remarks: list[str] = []
        self.known: list[Member] = []  # none: an archive tells of a member where the member begins
        self._ignored: list[_Ignored] = []
        self._ignored_size = 0
        self._seen: set[str] = set()
        self._current: Entry | None = None
        try:
            self.format, decoder = open_decoder(self._source)
        except BaseException:
            self.close()
            raise
        compression = compression_name(self.format)
        size = self.bytes_total if compression is None else None
        self._reader = TarReader(self._source, decoder, compression=compression, size=size)

    @property
    def bytes_total(self) -> int | None:
        """The size of the file; None for a pipe, and where the server does not say it."""
        return self._source.total

    @property
    def ignored(self) -> list[str]:
        """The names of the members that were skipped."""
        return [member.name for member in self._ignored]

    @property
    def bytes_read(self) -> int:
        """How much of the file has been decompressed."""
        return self._source.consumed

    @property
    def sha256(self) -> str | None:
        """The digest of the file, once it has been read to its end."""
        return self._source.sha256

    def members(self) -> Iterator[Member]:
        """Give the members that make an update image, and judge all others."""
        for entry in self._reader.entries():
            self._current = entry
            name = self._judge(entry)
            if name is not None:
                yield self._member(name, entry)
            self._current = None
        missing = [name for name in self._images if name not in self._seen]
        if missing:
            raise self._missing(missing)

    def _member(self, name: str, entry: Entry) -> Member:
        return Member(name, entry.extents, self._data_of(entry), self._source.error)

    def _judge(self, entry: Entry) -> str | None:
        """Return the name of a member that is to be used, None for one to be skipped.

        Raises:
            ImageMemberError: it may not be in an update image.
        """
        if entry.kind == tar.LABEL:  # a name for people, of the whole archive; GNU tar passes it over as well
            self.remarks.append(f"member {shown(entry.name)} is a volume label and was skipped")
            self._count(entry)
            return None
        name = self._plain_name(entry)
        known = name in (*self._images, VERSION)
        if entry.kind == tar.DIRECTORY and not known:
            return None
        if name == VERSION and entry.kind in (tar.DIRECTORY, *tar.LINKS):
            self.remarks.append(f"{VERSION} is {entry.kind}; the version is unknown")
            return None
        if entry.kind != tar.FILE:
            raise self._refuse(name, f"is {entry.kind}")
        if name in self._seen:
            raise self._refuse(name, "is there twice")
        self._seen.add(name)
        if name not in self._images:
            self._count(entry)
        if not known:
            self._ignore(name, entry)
            return None
        if name != VERSION and not entry.extents.size:
            raise self._refuse(name, "is empty")
        return name

    def _count(self, entry: Entry) -> None:
        """Limit what is read though no slot gets it: a bomb may be a label, or a version, too."""
        self._ignored_size += entry.stored_size
        if self._ignored_size > MAX_IGNORED_SIZE:
            raise self._refuse(entry.name, f"and others that have no place there exceed {MAX_IGNORED_SIZE} bytes")

    def _ignore(self, name: str, entry: Entry) -> None:
        # Only a few are ever shown, and nobody reads more of the others than it takes to pass them.
        looked_at = len(self._ignored) < _MOST_SHOWN and entry.extents.size > 0
        what = content.describe(self._member(name, entry).head) if looked_at else None
        self._ignored.append(_Ignored(name, what))

    def _missing(self, missing: list[str]) -> ImageMemberError:
        """Make the error that says which images are not there, and what is there instead."""
        # What tells most comes first: an image under another name may be the last of many members.
        hints = {one: _hint_at(missing, one) for one in self._ignored}
        ordered = sorted(self._ignored, key=lambda one: hints[one] is None)
        found = [shown(one.name) + (f" ({one.what})" if one.what else "") for one in ordered]
        if more := found[_MOST_SHOWN:]:
            found[_MOST_SHOWN:] = [f"{len(more)} others"]
        instead = f", but {' and '.join(found)}" if found else ""
        hint = hints[ordered[0]] if ordered else None
        return self._source.error(ImageMemberError, f"it has no {' and no '.join(missing)}{instead}", hint=hint)

    def _plain_name(self, entry: Entry) -> str:
        """Return a member's name without `./`; empty for the directory that all is in."""
        name = entry.name
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if entry.kind == tar.DIRECTORY and name and not parts:
            return ""  # `./`; or `/`, which umoci writes
        if not name or name.startswith("/") or ".." in parts:
            raise self._refuse(name, "has a path that leads out of the archive")
        return "/".join(parts)

    def _refuse(self, name: str, cause: str) -> ImageMemberError:
        return self._source.error(ImageMemberError, f"member {shown(name)} {cause}")

    def _data_of(self, entry: Entry) -> ReadData:
        def read(window: memoryview, _offset: int) -> None:
            if entry is not self._current:
                message = f"{entry.name} is read too late: the next member has been asked for"
                raise ValueError(message)
            self._reader.read(window)

        return read

    def cancel(self) -> None:
        """End the reading ahead, so that nobody waits for it."""
        self._source.close()

    def close(self) -> None:
        """Close the input."""
        self._source.close()

    def __enter__(self) -> Self:
        """Return the archive itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the input."""
        self.close()


def _hint_at(missing: list[str], found: _Ignored) -> str | None:
    """Say what to do where a member is there under another name, or inside something else; None where it is not."""
    folder, _, name = found.name.rpartition("/")
    if folder and name in missing:
        return f"pack the images without their folder, as tar -C {shown(folder)} does"
    if name.lower() in missing:
        return f"capital and small letters count: call it {name.lower()}"
    if found.what is None:
        return None
    if found.what.startswith("a whole disk"):
        return "give the update image instead of the disk image"
    if found.what == "a tar archive" or found.what.endswith("-compressed"):
        return f"unpack it, and give {shown(name)}, if that is the update image"
    return None
