"""What has to be known of earlier updates after a reboot, a fallback or a power cut, in either slot.

It is one file beside the floor, written only where it changes: before a release is installed, before one is committed,
and once one did not stay.
"""

from typing import Any, NamedTuple

from manageboot import errors
from manageboot.boot import sharedfile
from manageboot.boot.sharedfile import word
from manageboot.config import Config

FILE_NAME = "manageboot.update"
SCHEMA = 1

_LIMIT_BYTES = 64 << 10
_KEPT_MAX = 100
"""Releases that are older than what was confirmed are not kept, so there are never many."""


class Known(NamedTuple):
    """A release, as much of it as has to be remembered."""

    version: str
    release_index: int
    sha256: str
    """Of its release.json, in hexadecimal."""


class SetAside(NamedTuple):
    """A release that is not taken again by itself."""

    release: Known
    cause: str
    """That of its fallback; `cancelled`: somebody took it back."""
    noted: str
    """When, UTC in ISO 8601."""


class Memory(NamedTuple):
    """What the file says."""

    chosen: Known | None = None
    """What the last update has installed, or begun to."""
    committed: Known | None = None
    """What the last update has committed, or begun to, and of which nobody knows yet whether it stays."""
    set_aside: tuple[SetAside, ...] = ()
    lifted: str | None = None
    """The installation of which it does not count that it did not stay, or was taken back: somebody said so."""
    replaced: str | None = None
    """The installation of an earlier update that the chosen release replaces; the slot may hold it still."""

    def is_set_aside(self, sha256: str) -> bool:
        """Say whether a release is not taken again."""
        return any(one.release.sha256 == sha256 for one in self.set_aside)

    def with_set_aside(self, one: SetAside) -> "Memory":
        """Return it with one release more that is not taken again."""
        return self._replace(set_aside=(*self.set_aside, one)[-_KEPT_MAX:])


def load(config: Config) -> Memory:
    """Read the file; where there is none, there was no update yet.

    Raises:
        UpdateMemoryError: it says what no version of this schema would.
        DeviceError, NotPermittedError: it can't be read.
    """
    return sharedfile.load(config, FILE_NAME, _LIMIT_BYTES, parse, _damaged) or Memory()


def store(config: Config, memory: Memory) -> None:
    """Replace the file.

    Raises:
        CreateError, DeviceError, NotPermittedError: it can't be written.

    Durability: once it returns, it survives a power cut; before, the old file is there or the new one.
    """
    whole = {
        "schema": SCHEMA,
        "chosen": None if memory.chosen is None else release_to_json(memory.chosen),
        "committed": None if memory.committed is None else release_to_json(memory.committed),
        "set_aside": [to_json(one) for one in memory.set_aside],
        "lifted": memory.lifted,
        "replaced": memory.replaced,
    }
    sharedfile.store(config, FILE_NAME, whole)


def release_to_json(release: Known) -> dict[str, Any]:
    """Turn a release into what the file and `status --json` have."""
    return {"version": release.version, "index": release.release_index, "sha256": release.sha256}


def to_json(one: SetAside) -> dict[str, Any]:
    """Turn what is not taken again into what the file and `status --json` have."""
    return {**release_to_json(one.release), "cause": one.cause, "noted": one.noted}


def parse(content: bytes) -> Memory:
    """Take the file apart. Raises ValueError where it says what no version of this schema would."""
    stored = sharedfile.parse(content, SCHEMA)
    listed, lifted, replaced = stored.get("set_aside"), stored.get("lifted"), stored.get("replaced")
    if type(listed) is not list or not isinstance(lifted, str | None) or not isinstance(replaced, str | None):
        raise ValueError("it does not say what is set aside")
    return Memory(
        _optional(stored.get("chosen")),
        _optional(stored.get("committed")),
        tuple(
            SetAside(parse_release(one), word(one, "cause", "[a-z-]{1,40}"), word(one, "noted", ".{1,40}"))
            for one in listed
        ),
        lifted,
        replaced,
    )


def _optional(values: Any) -> Known | None:
    return None if values is None else parse_release(values)


def parse_release(values: Any) -> Known:
    """Take apart what `release_to_json` made. Raises ValueError where it can't have."""
    found = values if isinstance(values, dict) else {}
    return Known(
        word(found, "version", ".{1,64}"), sharedfile.number(found, "index"), word(found, "sha256", "[0-9a-f]{64}")
    )


def _damaged(message: str) -> errors.ManagebootError:
    # `status` loads the memory, and what a channel refuses only here.
    from manageboot.channel.refusals import UpdateMemoryError

    return UpdateMemoryError(message)
