"""Read PAX extended headers: records `LENGTH NAME=VALUE`, and the sparse maps that GNU tar keeps in them.

GNU tar has three ways of storing a sparse file: version 0.0 repeats two records for every extent, 0.1 has the whole
map in one record, and 1.0 has it in front of the data, so that only the name and the size stand here.

Source: POSIX.1-2017, pax, "pax Extended Header"; GNU tar's manual, "Storing Sparse Files".
"""

from array import array
from collections.abc import Iterator

from manageboot.image.sparse import SparseMap, add_stored
from manageboot.image.tarheader import FieldError, decimal

MAX_HEADER_SIZE = 16 << 20  # bytes; a map in version 0.0 takes about 70 for an extent: 240 thousand of them
MAX_NAME_SIZE = 4096  # bytes, as PATH_MAX

_MAX_LENGTH_DIGITS = 8
_SPARSE = b"GNU.sparse."
_SPARSE_NAMES = {b"major", b"minor", b"name", b"size", b"realsize", b"numblocks", b"map"}


class PaxHeader:
    """What an extended header says about the member that follows; None where it says nothing."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self.path: str | None = None
        self.size: int | None = None
        self._sparse: dict[bytes, bytes] = {}
        self._numbers = array("Q")  # of a map in version 0.0: offset, length, offset, length ...

    @property
    def is_sparse(self) -> bool:
        """Whether the member is stored without its holes."""
        return bool(self._sparse or self._numbers)

    @property
    def map_in_data(self) -> bool:
        """Whether the map stands in front of the member's data, as in version 1.0."""
        return b"major" in self._sparse

    def empty_map(self) -> SparseMap:
        """Make the map of the sparse member, with no extents yet.

        Raises:
            FieldError: the version is unknown, or its size is not given.
        """
        version = self._sparse.get(b"major", b"0"), self._sparse.get(b"minor", b"0")
        if version not in {(b"1", b"0"), (b"0", b"0"), (b"0", b"1")}:
            message = f"the version of the sparse format is {b'.'.join(version)!r}, which is not known"
            raise FieldError(message)
        if self.map_in_data and (version[0] == b"0" or b"map" in self._sparse or self._numbers):
            message = "there are sparse maps of two versions"
            raise FieldError(message)
        key = b"realsize" if self.map_in_data else b"size"
        return SparseMap(decimal(self._value(key), _SPARSE.decode() + key.decode()))

    def add_extents(self, extents: SparseMap) -> None:
        """Append the extents of a map that stands in the header, as in versions 0.0 and 0.1.

        Raises:
            FieldError: an extent is bad, or their number is another one than was announced.
        """
        numbers: Iterator[int] = iter(self._numbers)
        if b"map" in self._sparse:
            if self._numbers:
                message = "there are sparse maps of two versions"
                raise FieldError(message)
            numbers = _split_map(self._sparse[b"map"])
        entries = 0
        for start in numbers:
            length = next(numbers, None)
            if length is None:
                message = "the sparse map ends with an offset"
                raise FieldError(message)
            add_stored(extents, start, length)
            entries += 1
        announced = decimal(self._value(b"numblocks"), "number of extents")
        if entries != announced:
            message = f"the sparse map has {entries} extents, and {announced} were announced"
            raise FieldError(message)

    def _value(self, name: bytes) -> bytes:
        if name not in self._sparse:
            message = f"there is no {(_SPARSE + name).decode()} in the extended header"
            raise FieldError(message)
        return self._sparse[name]

    def take(self, name: bytes, value: bytes) -> None:
        """Take a record; of two paths or sizes the last one counts, as POSIX has it.

        Raises:
            FieldError: its value is bad, or it may not be there.
        """
        if name.startswith(_SPARSE):
            self._take_sparse(name.removeprefix(_SPARSE), value)
        elif name == b"path":
            if b"name" not in self._sparse:  # that of a sparse member is made up
                self._set_path(value)
        elif name == b"size":
            self.size = decimal(value, "size")

    def _take_sparse(self, name: bytes, value: bytes) -> None:
        if name in (b"offset", b"numbytes"):
            if (name == b"numbytes") != len(self._numbers) % 2:
                message = f"GNU.sparse.{name.decode()} is out of turn"
                raise FieldError(message)
            self._numbers.append(decimal(value, f"GNU.sparse.{name.decode()}"))
            return
        if name not in _SPARSE_NAMES:
            message = f"GNU.sparse.{name[:40]!r} is not known"
            raise FieldError(message)
        if name in self._sparse:
            raise _twice(_SPARSE + name)
        self._sparse[name] = value
        if name == b"name":
            self._set_path(value)

    def _set_path(self, value: bytes) -> None:
        if not 0 < len(value) <= MAX_NAME_SIZE or b"\0" in value:
            message = f"the path has {len(value)} bytes, or a NUL among them"
            raise FieldError(message)
        self.path = value.decode("utf-8", "surrogateescape")


def parse(body: bytes) -> PaxHeader:
    """Read the extended header of one member.

    Raises:
        FieldError: a record breaks the format.
    """
    header = PaxHeader()
    for name, value in _records(body):
        header.take(name, value)
    return header


def check_global(body: bytes) -> None:
    """Read a global header, which may say things about all members, such as a comment, but not what only one can have.

    Raises:
        FieldError: a record breaks the format, or would change every member's path, size or map.
    """
    for name, _value in _records(body):
        if name in (b"path", b"size", b"linkpath") or name.startswith(_SPARSE):
            message = f"a global header sets {name[:40]!r} for all members"
            raise FieldError(message)


def _twice(name: bytes) -> FieldError:
    return FieldError(f"{name.decode('utf-8', 'replace')} is there twice")


def _records(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    start = 0
    while start < len(body):
        if body[start] == 0:  # some writers fill the last block within the size, and GNU tar stops there
            if any(body[start:]):
                message = f"there is something behind the padding at byte {start} of the extended header"
                raise FieldError(message)
            return
        space = body.find(b" ", start, start + _MAX_LENGTH_DIGITS + 1)
        digits = body[start:space] if space > 0 else b""
        end = start + int(digits) if digits.isdigit() else 0
        equals = body.find(b"=", space + 1, end)
        if end > len(body) or equals < 0 or body[end - 1 : end] != b"\n":
            message = f"there is no whole record at byte {start} of the extended header"
            raise FieldError(message)
        yield body[space + 1 : equals], body[equals + 1 : end - 1]
        start = end


def _split_map(value: bytes) -> Iterator[int]:
    start = 0
    while value and start <= len(value):
        comma = value.find(b",", start)
        end = len(value) if comma < 0 else comma
        yield decimal(value[start:end], "sparse map's number")
        start = end + 1
