"""What the node keeps of the metadata that it trusted last, so that nobody can show it older metadata.

It is one file beside the floor, which both slots reach, and it is replaced as a whole: a root that was rotated is there
with all that it signs, or the old one is.
"""

import os
from typing import Any, NamedTuple

from manageboot import errors
from manageboot.boot import floor
from manageboot.config import Config
from manageboot.system import files

FILE_NAME = "manageboot.tuf"
SCHEMA = 1
ROLES = ("timestamp", "snapshot", "targets")

_LIMIT_BYTES = 16 << 20
_NUMBER_MAX = (1 << 53) - 1


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

    def with_built(self, built: int) -> "Kept":
        """Return it with the time at which a release was built; one that is later than the metadata lasts is wrong."""
        from datetime import datetime

        if self.expires is not None:
            built = min(built, int(datetime.fromisoformat(self.expires).timestamp()))
        return self._replace(built=max(self.built, built))


def path_of(config: Config) -> str | None:
    """Return where the file is; None: the disk of another system is worked on, which keeps its own."""
    beside = floor.path_of(config)
    return None if beside is None else os.path.join(os.path.dirname(beside), FILE_NAME)


def load(config: Config) -> Kept:
    """Read what was kept; where there is no file, nothing was.

    Raises:
        MetadataError: it says what no version of this schema would.
        DeviceError, NotPermittedError: it can't be read.
    """
    path = path_of(config)
    if path is None:
        return Kept()
    try:
        return _parse(files.parse(files.read(path, _LIMIT_BYTES)))
    except FileNotFoundError:
        return Kept()
    except OSError as error:
        raise errors.from_os_error(error, f"read {path}") from error
    except ValueError as error:
        raise errors.MetadataError(
            f"cannot read {path}: {error}",
            hint="remove it; then what the channel has is believed from the first root on",
        ) from error


def store(config: Config, kept: Kept) -> None:
    """Replace what is kept; the caller holds the lock of the node.

    Raises:
        CreateError, DeviceError, NotPermittedError: it can't be written.

    Durability: once it returns, it survives a power cut; before, the old file is there or the new one.
    """
    import json

    path = path_of(config)
    if path is None:
        return
    whole = {
        "schema": SCHEMA,
        "roots": {str(version): content.decode("latin-1") for version, content in sorted(kept.roots.items())},
        "roles": {role: content.decode("latin-1") for role, content in kept.roles.items()},
        "built": kept.built,
        "signed_by": list(kept.signed_by),
        "expires": kept.expires,
    }
    try:
        files.replace(path, f"{json.dumps(whole, indent=1)}\n".encode(), durable=True)
    except OSError as error:
        raise errors.from_os_error(error, f"write {path}", errors.CreateError) from error


def _parse(stored: Any) -> Kept:
    """Take the file apart. Raises ValueError where it says what no version of this schema would."""
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
        raise ValueError(f"it has no schema {SCHEMA}")
    roots, roles = _contents(stored, "roots"), _contents(stored, "roles")
    versions = sorted(int(version) for version in roots)
    if versions != list(range(min(versions, default=0), max(versions, default=-1) + 1)) or not roles.keys() <= {*ROLES}:
        raise ValueError("its metadata is not whole")
    built, keys, expires = stored.get("built"), stored.get("signed_by"), stored.get("expires")
    if type(built) is not int or not 0 <= built <= _NUMBER_MAX:
        raise ValueError("built is not a time")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("signed_by is not a list of words")
    if expires is not None and not isinstance(expires, str):
        raise ValueError("expires is not a time")
    return Kept({int(version): content for version, content in roots.items()}, roles, built, tuple(keys), expires)


def _contents(stored: dict[str, Any], key: str) -> dict[str, bytes]:
    values = stored.get(key)
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError(f"{key} is not metadata")
    return {name: value.encode("latin-1") for name, value in values.items()}
