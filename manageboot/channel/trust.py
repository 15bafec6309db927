"""Metadata of a channel, refreshed and judged by python-tuf; the only module of a node that imports it.

The protocol is python-tuf's own client. It works in a directory that is gone afterwards; what it has accepted there is
handed back to be kept, all at once.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import tuf
from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from manageboot import errors
from manageboot.channel import kept as keeping
from manageboot.channel import refusals
from manageboot.channel.kept import Kept
from manageboot.channel.place import Place
from manageboot.fetch.failures import FetchGoneError, FetchRefusedError

_FOLDER = "metadata/"
_FAR_AHEAD_S = 10 * 365 * 86400
"""Nobody leaves a channel without a signature for so long; a clock that says so is wrong."""
_FILE_BYTES_MAX = 5_000_000

_WITH_BOOTSTRAP = int(tuf.__version__.split(".")[0]) >= 6
"""From then on, whoever wants the root in the directory to count has to say so."""


class Trusted(NamedTuple):
    """What a place may offer."""

    targets: dict[str, TargetFile]
    """What was signed, by its path."""
    kept: Kept
    """What is to be kept of it."""

    def verify(self, path: str, content: bytes, name: str) -> None:
        """Make sure that a file is the one that was signed; messages call it by a name.

        Raises:
            ReleaseDigestError: it is not.
        """
        try:
            self.targets[path].verify_length_and_hashes(content)
        except exceptions.LengthOrHashMismatchError as error:
            cause = f"it is not the file that was signed: {error}"
            raise errors.ReleaseDigestError(f"cannot read {name}: {cause}") from error


class RefusedPlaceError(Exception):
    """A place was refused; some of what it has may have been accepted before that, as a new root."""

    def __init__(self, error: errors.ManagebootError, kept: Kept) -> None:
        super().__init__(str(error))
        self.error = error
        self.kept = kept


def root_version(content: bytes, path: str) -> int:
    """Return the version of a root.json.

    Raises:
        MetadataError: it is none.
    """
    try:
        root = Metadata[Root].from_bytes(content).signed
        if not isinstance(root, Root):
            raise TypeError("it is not a root")
    except Exception as error:
        raise errors.MetadataError(f"cannot read {path}: it is not a root.json of TUF") from error
    return root.version


def refresh(place: Place, root: bytes, kept: Kept, *, least_time: int) -> Trusted:
    """Ask a place for its metadata, and judge it.

    Args:
        place: where it is; it may give anything.
        root: the first root.json, which ships with the system.
        kept: what was trusted last; of another root of trust nothing counts.
        least_time: what time it is at least, in seconds since 1970: a clock that is behind counts as that.

    Raises:
        RefusedPlaceError: the metadata is not to be trusted, not there, or expired.
        CreateError, DeviceError, NotPermittedError: there is no place for it while it is judged.
    """
    version = root_version(root, "the root of trust")
    kept = kept.after(root, version)
    with _directory() as directory:
        _write(directory, "root", root)
        for role, content in kept.roles.items():
            _write(directory, role, content)
        fetcher = _Fetcher(place, kept.roots)
        try:
            updater = _updater(directory, fetcher)
            updater.refresh()
        except (exceptions.RepositoryError, exceptions.DownloadError, errors.ManagebootError) as error:
            ours = _error(error, place, fetcher)
            raise RefusedPlaceError(ours, _accepted(directory, root, version, kept, fetcher)) from error
        accepted = _accepted(directory, root, version, kept, fetcher)
    whole: dict[str, Metadata[Any]] = {role: Metadata.from_bytes(content) for role, content in accepted.roles.items()}
    last = Metadata[Root].from_bytes(accepted.roots[max(accepted.roots)])
    _judge_time(place, {"root": last, **whole}, least_time, accepted)
    targets: Metadata[Targets] = whole["targets"]
    expires = min(one.signed.expires for one in (last, *whole.values()))
    accepted = accepted._replace(
        signed_by=_signers(last.signed, targets), expires=expires.astimezone(UTC).isoformat(timespec="seconds")
    )
    return Trusted(dict(targets.signed.targets), accepted)


class _Fetcher(FetcherInterface):
    """Gives python-tuf what a place has, and the roots that were kept instead of what the place has for them."""

    def __init__(self, place: Place, roots: dict[int, bytes]) -> None:
        self._place = place
        self._roots = roots
        self.given: dict[str, bytes] = {}
        """What was asked for and given, by the name of the file."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.removeprefix(_FOLDER)
        root = re.fullmatch(r"([1-9][0-9]{0,15})\.root\.json", name)
        if root and int(root[1]) in self._roots:
            content = self._roots[int(root[1])]
        else:
            try:
                content = self._place.read(url, _FILE_BYTES_MAX, may_lack=root is not None)
            except (errors.InputError, FetchGoneError, FetchRefusedError) as error:
                # A bucket that lists nothing refuses what it does not have.
                raise exceptions.DownloadHTTPError(str(error), 404) from error
        self.given[name] = content
        return iter([content])


@contextmanager
def _directory() -> Iterator[str]:
    """Give a directory that is gone after a with block."""
    try:
        with tempfile.TemporaryDirectory(prefix="manageboot-") as directory:
            yield directory
    except OSError as error:
        raise errors.from_os_error(error, "put metadata into a temporary directory", errors.CreateError) from error


def _updater(directory: str, fetcher: FetcherInterface) -> Updater:
    # The directory is ours alone, and nothing but the root of trust is its root.json.
    named: dict[str, Any] = {"bootstrap": None} if _WITH_BOOTSTRAP else {}
    config = UpdaterConfig(prefix_targets_with_hash=False)
    return Updater(directory, _FOLDER, fetcher=fetcher, config=config, **named)


def _write(directory: str, role: str, content: bytes) -> None:
    with open(os.path.join(directory, f"{role}.json"), "wb") as file:
        file.write(content)


def _read(directory: str, role: str) -> bytes | None:
    try:
        with open(os.path.join(directory, f"{role}.json"), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _accepted(directory: str, root: bytes, version: int, kept: Kept, fetcher: _Fetcher) -> Kept:
    """Return what python-tuf left in its directory: it writes nothing there that it has not accepted."""
    found = _read(directory, "root")
    last = version if found is None else root_version(found, "root.json")
    roots = {one: content for one, content in kept.roots.items() if one <= last} | {version: root}
    for one in range(version + 1, last + 1):
        if (given := fetcher.given.get(f"{one}.root.json")) is not None:
            roots[one] = given
    roles = {role: content for role in keeping.ROLES if (content := _read(directory, role)) is not None}
    return kept._replace(roots=roots, roles=roles)


def _signers(root: Root, targets: Metadata[Any]) -> tuple[str, ...]:
    result = root.get_verification_result("targets", targets.signed_bytes, targets.signatures)
    return tuple(sorted(result.signed))


def _judge_time(place: Place, whole: dict[str, Metadata[Any]], least_time: int, accepted: Kept) -> None:
    """Judge by what is known of the time what the clock alone let pass, as it is behind."""
    moment = datetime.fromtimestamp(least_time, UTC)
    for role, metadata in whole.items():
        if metadata.signed.is_expired(moment):
            cause = f"it expired at {_iso(metadata.signed.expires)}, and it is {_iso(moment)} at least"
            raise RefusedPlaceError(
                refusals.MetadataExpiredError(f"cannot trust {role} of {place.giver}: {cause}"), accepted
            )


def _error(error: Exception, place: Place, fetcher: _Fetcher) -> errors.ManagebootError:
    """Say what python-tuf, or the place, has refused."""
    what = f"cannot trust the metadata of {place.giver}"
    # python-tuf wraps what its fetcher raises.
    cause = error.__cause__ if isinstance(error, exceptions.DownloadError) else error
    if isinstance(cause, errors.ReleaseDigestError):
        return errors.MetadataError(f"{what}: {cause}")
    if isinstance(cause, errors.ManagebootError):
        return cause
    if isinstance(error, exceptions.ExpiredMetadataError):
        return _expired(error, what, fetcher)
    if isinstance(error, exceptions.UnsignedMetadataError):
        return refusals.MetadataSignatureError(f"{what}: {error}")
    return errors.MetadataError(f"{what}: {str(error) or type(error).__name__}")


def _expired(error: Exception, what: str, fetcher: _Fetcher) -> errors.ManagebootError:
    """Tell metadata that nobody has renewed from a clock that can't be right."""
    ends: list[datetime] = []
    for content in fetcher.given.values():
        try:
            ends.append(Metadata.from_bytes(content).signed.expires)
        except Exception:  # noqa: BLE001  it may be anything, and is only asked for a time
            continue
    now = datetime.now(UTC)
    if ends and (now - max(ends).astimezone(UTC)).total_seconds() > _FAR_AHEAD_S:
        cause = f"the clock says {_iso(now)}, and all of it expired by {_iso(max(ends))}"
        return refusals.ClockAheadError(f"{what}: {cause}", hint="set the clock; one that is behind would do")
    return refusals.MetadataExpiredError(
        f"{what}: {error}; the clock says {_iso(now)}", hint="who publishes has to sign again; or the clock is wrong"
    )


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
