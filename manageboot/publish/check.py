"""Reads all that is published, as a node would from the root that it trusts, and each release to its last byte."""

import inspect
import os
import tempfile
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from manageboot import errors
from manageboot.install.progress import Style
from manageboot.publish import metadata
from manageboot.publish.checkrelease import check_release
from manageboot.publish.metadata import ROLES
from manageboot.publish.sign import index_of, target_path
from manageboot.release import description, rollout
from manageboot.release.description import Release
from manageboot.release.rollout import Rollout
from manageboot.system.text import one_line

if TYPE_CHECKING:
    from tuf.api.metadata import Root

SCHEMA = 1
_LOCAL = "file:///"
"""What stands for the directory in the addresses that python-tuf asks for."""


def check(directory: str, root: str | None, style: Style) -> dict[str, Any]:
    """Check all that is published, or one release that was not signed yet.

    Args:
        directory: what is published; or the directory of a release.
        root: the file of the root that nodes trust; None: the first one that is published.
        style: how to show how far it is.

    Returns:
        What is there, for a program; `render` writes it for a person.

    Raises:
        MetadataError: a node would refuse the metadata.
        DataError, InputError, NotPermittedError, DeviceError: a release is not whole, or can't be read.
    """
    if os.path.lexists(os.path.join(directory, description.NAME)):
        _, release = check_release(directory, style)
        return {"schema": SCHEMA, "metadata": None, "releases": [_shown(release)]}
    trusted = metadata.read_bytes(root or os.path.join(metadata.folder(directory), "1.root.json"))
    with tempfile.TemporaryDirectory() as cache:
        _refresh(directory, trusted, cache)
        roles = {role: _cached(cache, role) for role in ROLES}
    releases = []
    for path, target in sorted(roles["targets"].signed.targets.items(), key=lambda item: index_of(item[1]) or 0):
        version = os.path.dirname(path)
        if path != target_path(version) or not description.VERSION.fullmatch(version):
            raise errors.MetadataError(f"cannot accept {directory}: {path} is signed, and is not a release")
        # As a node does: nothing is parsed before it was verified.
        _check_target(target, metadata.read_bytes(os.path.join(directory, path), description.DESCRIPTION_BYTES_MAX))
        _, release = check_release(os.path.join(directory, version), style)
        if index_of(target) != release.release_index:
            raise errors.MetadataError(f"cannot accept {path}: it was signed with another index than it has")
        releases.append(_shown(release, _rollout(target)))
    top: Root = roles["root"].signed
    return {
        "schema": SCHEMA,
        "metadata": {role: _role(roles[role].signed, top, role) for role in ROLES},
        "releases": releases,
    }


def render(result: dict[str, Any]) -> str:
    """Write what `check` found for a person."""
    lines = [
        f"{role:<10} version {found['version']}, until {found['expires']}, "
        f"{found['threshold']} of {len(found['keys'])} keys"
        for role, found in (result["metadata"] or {}).items()
    ]
    lines += [
        f"release    {release['version']}, index {release['index']}: "
        f"{release['pack_size']} bytes in frames, {release['archive_size']} as {release['archive']}"
        f"{'' if release['rollout'] is None else ', for ' + release['rollout']['words']}"
        for release in result["releases"]
    ]
    return "\n".join(map(one_line, lines))


def _refresh(directory: str, trusted: bytes, cache: str) -> None:
    """Let python-tuf's client follow the metadata from the trusted root on; what it trusts is in the cache then."""
    from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
    from tuf.ngclient import Updater
    from tuf.ngclient.fetcher import FetcherInterface

    class Files(FetcherInterface):
        def _fetch(self, url: str) -> Iterator[bytes]:
            path = os.path.join(metadata.folder(directory), url.removeprefix(_LOCAL))
            if not os.path.lexists(path):
                raise DownloadHTTPError(f"{path} does not exist", 404)
            return iter([metadata.read_bytes(path)])

    with open(os.path.join(cache, "root.json"), "wb") as file:
        file.write(trusted)
    # What is in the cache is trusted; from version 6 on, python-tuf wants to hear that this is meant.
    meant = {"bootstrap": None} if "bootstrap" in inspect.signature(Updater).parameters else {}
    try:
        Updater(cache, _LOCAL, fetcher=Files(), **meant).refresh()
    except (DownloadError, RepositoryError) as error:
        raise errors.MetadataError(f"cannot trust {metadata.folder(directory)}: {error}") from error


def _cached(cache: str, role: str) -> Any:
    path = os.path.join(cache, f"{role}.json")
    return metadata.parse(metadata.read_bytes(path), path)


def _check_target(target: Any, content: bytes) -> None:
    from tuf.api.exceptions import LengthOrHashMismatchError

    try:
        target.verify_length_and_hashes(content)
    except LengthOrHashMismatchError as error:
        raise errors.ReleaseDigestError(f"cannot accept {target.path}: it is not the one that was signed") from error


def _role(signed: Any, root: "Root", role: str) -> dict[str, Any]:
    expires: datetime = signed.expires
    return {
        "version": signed.version,
        "expires": expires.isoformat(),
        "threshold": root.roles[role].threshold,
        "keys": sorted(root.roles[role].keyids),
    }


def _rollout(target: Any) -> Rollout | None:
    try:
        return rollout.parse(target.custom)
    except ValueError as error:
        raise errors.MetadataError(f"cannot accept {target.path}: its rollout can't be read: {error}") from error


def _shown(release: Release, staged: Rollout | None = None) -> dict[str, Any]:
    return {
        "version": release.version,
        "index": release.release_index,
        "min_index": release.min_index,
        "built": release.built,
        "requires": release.requires._asdict(),
        "images": [image._asdict() for image in release.images],
        "archive": release.archive_name,
        "archive_size": release.archive.size,
        "pack_size": release.pack.size,
        "rollout": None if staged is None else {**staged.to_json(), "words": str(staged)},
    }
