"""What `inspect` says of a release beside its images: what it asks for, who signed, and whether this node takes it."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from manageboot import errors
from manageboot.boot.node import Node, observe
from manageboot.channel import channel, places
from manageboot.channel.channel import Offers, Wanted
from manageboot.channel.directory import Directory
from manageboot.channel.place import Place
from manageboot.channel.source import ReleaseImage
from manageboot.config import Config
from manageboot.image.source import is_url
from manageboot.release import description
from manageboot.release.description import DESCRIPTION_BYTES_MAX, NAME, Release
from manageboot.system import files

_SHOWN_DIGITS = 12
"""Of the id of a key."""


class Found(NamedTuple):
    """A release, which nobody may have vouched for: it is looked at, and never installed from here."""

    place: Place
    """The release itself."""
    release: Release
    sha256: str
    """Of its release.json, in hexadecimal."""

    def opened(self, images: Sequence[str]) -> ReleaseImage:
        """Open it as an update image; the caller closes it.

        Raises:
            DataError, InputError, NotPermittedError: it can't be read, or is not whole.
        """
        return ReleaseImage(self.place, "", self.release, self.sha256, images)


def find(images: Sequence[str], channel: Mapping[str, Any]) -> Found | None:
    """Return the release that is meant; None: it is an update image. The caller closes its place.

    Args:
        images: what was named; a URL that ends in a slash is that of a release.
        channel: how to fetch.

    Raises:
        UsageError, FetchError, FetcherError: it is a URL that can't be one, or can't be fetched from.
        InputError, NotPermittedError, DeviceError: there is no release in that directory, or it can't be read.
        ReleaseFormatError, ReleaseTooNewError: its release.json is none.
    """
    if len(images) == 1 and is_url(images[0]) and images[0].endswith("/"):
        return _read(places.of_release(images[0], channel))
    if len(images) != 1 or not os.path.isdir(images[0]):
        return None
    path = files.absolute(images[0])
    if not files.is_there(os.path.join(path, NAME)):
        raise errors.InputError(
            f"cannot inspect {images[0]}: it has no {NAME}", hint="`manageboot check` lists a directory of releases"
        )
    return _read(Directory(path))


def judge(config: Config | None, found: Found, *, fits: bool | None) -> dict[str, Any]:
    """Tell what a release asks for, who vouches for it, and why this node would refuse it.

    Args:
        config: the settings of this node; None: it is none.
        found: the release.
        fits: whether its images fit into the passive slot; None: nobody knows.
    """
    release = found.release
    judged: dict[str, Any] = {
        "index": release.release_index,
        "min_index": release.min_index,
        "built": release.built,
        "requires": release.requires._asdict(),
        "pack_size": release.pack.size,
        "archive": release.archive_name,
        "archive_size": release.archive.size,
        "signed_by": [],
        "expires": None,
        "untrusted": None,
        "floor": None,
        "refused": None,
        "taken": None,
    }
    try:
        if config is None:
            raise errors.UnsignedError("cannot trust any release: this is no node, and no channel.root is configured")
        node = observe(config)
        try:
            # As pinned, it is judged whoever signed.
            known = _offers(config, node, Wanted(found.place.name, found.sha256))
            judged["floor"], judged["refused"] = known.floor.release_index, _cause(known.offers[0].refused)
        except errors.FloorDamagedError as error:
            judged["refused"] = _cause(error)
        # The signatures count here, whatever the floor is.
        [signed] = _offers(config, node, Wanted(found.place.name, may_downgrade=True)).offers
        judged["signed_by"], judged["expires"] = list(signed.signed_by), signed.expires
    except errors.ManagebootError as error:
        judged["untrusted"] = _cause(error)
    if config is not None:
        judged["taken"] = judged["untrusted"] is None and judged["refused"] is None and fits is not False
    return judged


def render(judged: dict[str, Any], sha256: str, *, fits: bool | None) -> list[str]:
    """Write what `judge` found for a person."""
    floor = "" if judged["floor"] is None else f", the floor of this node is {judged['floor']}"
    lines = [f"index    {judged['index']}{floor}"]
    if judged["min_index"]:
        lines.append(f"{'':<8} once it is confirmed, none below {judged['min_index']} is taken")
    if judged["built"] is not None:
        lines.append(f"built    {_moment(judged['built'])}")
    requires = judged["requires"]
    needs = [f"manageboot {requires['agent']}"] if requires["agent"] else []
    needs += [f"{key} {' or '.join(requires[names])}" for key, names in _NAMES if requires[names]]
    lines += [f"needs    {need}" for need in needs]
    lines.append(f"archive  {judged['archive']}, {judged['archive_size']} bytes")
    if judged["untrusted"] is None:
        by = ", ".join(key[:_SHOWN_DIGITS] for key in judged["signed_by"])
        lines.append(f"signed   by {by}, until {judged['expires']}")
    else:
        lines.append(f"signed   by nobody that this node trusts: {_said(judged['untrusted'])}")
    lines.append(f"taken    {_verdict(judged, sha256, fits=fits)}")
    return lines


def _read(place: Place) -> Found:
    try:
        content = place.read(NAME, DESCRIPTION_BYTES_MAX)
        release = description.parse(content, os.path.join(place.name, NAME))
    except BaseException:
        place.close()
        raise
    return Found(place, release, hashlib.sha256(content).hexdigest())


def _offers(config: Config, node: Node, wanted: Wanted) -> Offers:
    found = channel.offers(config, node, wanted)
    found.close()
    return found


_NAMES = (("system", "systems"), ("hardware", "hardware"))


def _verdict(judged: dict[str, Any], sha256: str, *, fits: bool | None) -> str:
    if judged["taken"] is None:
        return "unknown, this is no node"
    if judged["taken"]:
        return "yes"
    if judged["refused"] is not None:
        return f"no: {_said(judged['refused'])}"
    if fits is False:
        return "no, it does not fit"
    return f"no, unless it is pinned: --release-sha256 {sha256}"


def _cause(error: errors.ManagebootError | None) -> dict[str, str] | None:
    return None if error is None else {"code": error.code, "text": str(error)}


def _said(cause: dict[str, str]) -> str:
    return f"{cause['text']} [{cause['code']}]"


def _moment(at: int) -> str:
    """Write a time; whoever publishes may have named any number."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat()
    except (ValueError, OverflowError):
        return f"{at} s after 1970"
