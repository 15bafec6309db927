"""The metadata of TUF as it is published: read with each signature verified, and written one file at a time.

The protocol is python-tuf's; here is which files there are, and in which order they change.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from manageboot import errors
from manageboot.system import files

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, MetaFile, Root

FOLDER = "metadata"
ROLES = ("root", "targets", "snapshot", "timestamp")
FILE_BYTES_MAX = 5_000_000
"""What python-tuf's client reads of the largest of them, targets.json."""


class State(NamedTuple):
    """What is published."""

    roots: "list[Metadata[Root]]"
    """All of them; the last one counts."""
    roles: "dict[str, Metadata[Any]]"
    """targets, snapshot and timestamp; empty: nothing was signed yet."""
    stale: frozenset[str]
    """The roles that an earlier root let sign, and the last one does not: nodes refuse them."""

    @property
    def root(self) -> "Root":
        """The root that counts."""
        return self.roots[-1].signed


def folder(directory: str) -> str:
    """Return where the metadata is."""
    return os.path.join(directory, FOLDER)


@contextmanager
def locked(directory: str) -> Iterator[None]:
    """Keep others from changing the metadata; `metadata` is made where it is missing.

    Raises:
        LockedError: another run is at work.
        CreateError, NotPermittedError: there is no such directory, and none can be made.
    """
    path = folder(directory)
    try:
        if not os.path.lexists(path):
            os.mkdir(path)
            os.chmod(path, 0o755)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise errors.from_os_error(error, f"open {path}", errors.CreateError) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise errors.LockedError(f"cannot change {path}: another run is at work") from error
    finally:
        os.close(descriptor)


def load(directory: str) -> State:
    """Read what is published, and verify it from the first root on; expired metadata is taken.

    Raises:
        MetadataError: it is not metadata, not signed as the roots say, or not whole.
        InputError, NotPermittedError, DeviceError: it can't be read.
    """
    roots = _load_roots(directory)
    if not roots or not files.is_there(os.path.join(folder(directory), "timestamp.json")):
        return State(roots, {}, frozenset())
    stale: set[str] = set()
    timestamp = _trusted(directory, roots, "timestamp", "timestamp.json", None, stale)
    snapshot_of = timestamp.signed.snapshot_meta
    snapshot = _trusted(directory, roots, "snapshot", f"{snapshot_of.version}.snapshot.json", snapshot_of, stale)
    targets_of = snapshot.signed.meta["targets.json"]
    targets = _trusted(directory, roots, "targets", f"{targets_of.version}.targets.json", targets_of, stale)
    return State(roots, {"targets": targets, "snapshot": snapshot, "timestamp": timestamp}, frozenset(stale))


def read(directory: str, name: str) -> "Metadata[Any]":
    """Read one file; its signatures are not looked at.

    Raises:
        MetadataError: it is not metadata.
        InputError, NotPermittedError, DeviceError: it can't be read.
    """
    return parse(read_bytes(os.path.join(folder(directory), name)), name)


def parse(content: bytes, name: str) -> "Metadata[Any]":
    """Parse metadata, whose signatures are not looked at.

    Raises:
        MetadataError: it is none.
    """
    from tuf.api.metadata import Metadata
    from tuf.api.serialization import DeserializationError

    try:
        return Metadata.from_bytes(content)
    except DeserializationError as error:
        raise errors.MetadataError(f"cannot read {name}: it is not metadata of TUF") from error


def read_bytes(path: str, limit_bytes: int = FILE_BYTES_MAX) -> bytes:
    """Read a file of what is published.

    Raises:
        InputError, NotPermittedError, DeviceError: it can't be read, or is too long.
    """
    try:
        return files.read(path, limit_bytes)
    except OSError as error:
        raise errors.from_os_error(error, f"read {path}", errors.InputError) from error
    except ValueError as error:
        raise errors.InputError(f"cannot read {path}: {error}") from error


def write(directory: str, name: str, metadata: "Metadata[Any]") -> None:
    """Write one file.

    Raises:
        CreateError, NotPermittedError, DeviceError: it can't be written.

    Durability: once it returns, it is on the disk; cut before, the old one is there or the new one.
    """
    path = os.path.join(folder(directory), name)
    try:
        files.replace(path, metadata.to_bytes(), durable=True)
    except OSError as error:
        raise errors.from_os_error(error, f"write {path}", errors.CreateError) from error


def remove(directory: str, name: str) -> None:
    """Remove one file, if it is there.

    Raises:
        NotPermittedError, DeviceError: it can't be removed.
    """
    path = os.path.join(folder(directory), name)
    try:
        if os.path.lexists(path):
            os.unlink(path)
    except OSError as error:
        raise errors.from_os_error(error, f"remove {path}") from error


def draft_name(version: int, role: str) -> str:
    """Return how a draft is called, which nodes don't look for."""
    return f"{version}.{role}.draft.json"


def next_version(directory: str, role: str) -> int:
    """Return a version that no file of a role has, nor had: a name is never given to other content."""
    found = [re.fullmatch(rf"([1-9][0-9]*)\.{role}\.json", name) for name in os.listdir(folder(directory))]
    return max((int(match[1]) for match in found if match), default=0) + 1


def expiry(days: int, now: datetime) -> datetime:
    """Return when metadata of today is not to be trusted any more."""
    return (now + timedelta(days=days)).replace(microsecond=0)


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def _load_roots(directory: str) -> "list[Metadata[Root]]":
    roots: list[Metadata[Root]] = []
    while files.is_there(os.path.join(folder(directory), name := f"{len(roots) + 1}.root.json")):
        root = read(directory, name)
        if root.signed.type != "root" or root.signed.version != len(roots) + 1:
            raise errors.MetadataError(f"cannot read {name}: it is {root.signed.type} {root.signed.version}")
        for judge in (*roots[-1:], root):
            _verify(judge, root, "root", name)
        roots.append(root)
    return roots


def _trusted(
    directory: str, roots: "list[Metadata[Root]]", role: str, name: str, named: "MetaFile | None", stale: set[str]
) -> "Metadata[Any]":
    """Read a file that the root lets a role sign, or an earlier root did; `named` is what another file says of it."""
    from tuf.api.exceptions import LengthOrHashMismatchError

    content = read_bytes(os.path.join(folder(directory), name))
    metadata = parse(content, name)
    if metadata.signed.type != role or (named is not None and metadata.signed.version != named.version):
        raise errors.MetadataError(f"cannot read {name}: it is {metadata.signed.type} {metadata.signed.version}")
    if named is not None:
        try:
            named.verify_length_and_hashes(content)
        except LengthOrHashMismatchError as error:
            raise errors.MetadataError(f"cannot read {name}: it is not the one that was signed") from error
    for root in reversed(roots):
        try:
            _verify(root, metadata, role, name)
        except errors.MetadataError:
            stale.add(role)
        else:
            return metadata
    # None of them: what the last one says is what counts.
    _verify(roots[-1], metadata, role, name)
    return metadata


def _verify(judge: "Metadata[Root]", metadata: "Metadata[Any]", role: str, name: str) -> None:
    result = judge.signed.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    if not result.verified:
        cause = (
            f"it has {len(result.signed)} of {result.threshold} signatures that root {judge.signed.version} asks for"
        )
        raise errors.MetadataError(f"cannot trust {name}: {cause}")
