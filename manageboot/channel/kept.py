"""What the node keeps of the metadata that it trusted last, so that nobody can show it older metadata.

It is one file beside the floor, which both slots reach, and it is replaced as a whole: a root that was rotated is there
with all that it signs, or the old one is.
"""

from itertools import pairwise
from typing import Any, NamedTuple

from manageboot import errors
from manageboot.boot import sharedfile
from manageboot.config import Config
from manageboot.system.files import TIME_MAX

FILE_NAME = "manageboot.tuf"
SCHEMA = 1
ROLES = ("timestamp", "snapshot", "targets")

_LIMIT_BYTES = 16 << 20


class Kept(NamedTuple):
    """Metadata, byte for byte as it was published."""

    roots: dict[int, bytes] = {}  # noqa: RUF012  nobody changes it
    """By version, without a gap; the last one counts."""
    roles: dict[str, bytes] = {}  # noqa: RUF012  nobody changes it
    """Timestamp, snapshot and targets, as far as there are any."""
    built: int = 0
    """The latest time at which a release that was trusted was built, in seconds since 1970."""
    signed_by: tuple[str, ...] = ()
    """The keys that signed the targets, by their ids."""
    expires: str | None = None
    """When the first of the files is not to be trusted any more: UTC in ISO 8601."""

    def after(self, root: bytes, version: int) -> "Kept":
        """Return what of it still counts where a root ships with the system.

        A root that is the same as ours, or older, leads to ours by rotations. Another one begins anew: whoever builds
        the system's image decides whom it trusts.
        """
        if self.roots and (self.roots.get(version) == root or version < min(self.roots)):
            return self
        return Kept(built=self.built)

    def with_built(self, *times: int) -> "Kept":
        """Return it with the times at which releases were built; one at which the metadata is over can't be right."""
        from datetime import datetime

        end = float("inf") if self.expires is None else datetime.fromisoformat(self.expires).timestamp()
        return self._replace(built=max([self.built, *(built for built in times if built < end)]))


def load(config: Config) -> Kept:
    """Read what was kept; where there is no file, nothing was.

    Raises:
        MetadataError: it says what no version of this schema would.
        DeviceError, NotPermittedError: it can't be read.
    """
    return sharedfile.load(config, FILE_NAME, _LIMIT_BYTES, parse, _damaged) or Kept()


def store(config: Config, kept: Kept) -> None:
    """Replace what is kept; the caller holds the lock of the node.

    Raises:
        CreateError, DeviceError, NotPermittedError: it can't be written.

    Durability: once it returns, it survives a power cut; before, the old file is there or the new one.
    """
    whole = {
        "schema": SCHEMA,
        "roots": {str(version): content.decode("latin-1") for version, content in sorted(kept.roots.items())},
        "roles": {role: content.decode("latin-1") for role, content in kept.roles.items()},
        "built": kept.built,
        "signed_by": list(kept.signed_by),
        "expires": kept.expires,
    }
    sharedfile.store(config, FILE_NAME, whole)


def parse(content: bytes) -> Kept:
    """Take the file apart. Raises ValueError where it says what no version of this schema would."""
    stored = sharedfile.parse(content, SCHEMA)
    roots, roles = _contents(stored, "roots"), _contents(stored, "roles")
    versions = sorted(int(version) for version in roots)
    if any(after != before + 1 for before, after in pairwise(versions)) or not roles.keys() <= {*ROLES}:
        raise ValueError("its metadata is not whole")
    built, keys = sharedfile.number(stored, "built"), sharedfile.words(stored, "signed_by")
    if built > TIME_MAX:
        raise ValueError("built is in no year that there is")
    expires = stored.get("expires")
    if expires is not None and not isinstance(expires, str):
        raise ValueError("expires is not a time")
    return Kept({int(version): content for version, content in roots.items()}, roles, built, keys, expires)


def _damaged(message: str) -> errors.ManagebootError:
    return errors.MetadataError(message, hint="remove it; then what the channel has is believed from the first root on")


def _contents(stored: dict[str, Any], key: str) -> dict[str, bytes]:
    values = stored.get(key)
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError(f"{key} is not metadata")
    return {name: value.encode("latin-1") for name, value in values.items()}
