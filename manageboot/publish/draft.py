"""A draft of targets: signed by one person after the other, each on a machine of their own, before nodes see it.

It lies in `metadata`, which is carried from one to the next; no release has to come along. What it changes is said each
time, so that nobody signs what somebody else has put into it on the way.
"""

import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from manageboot import errors
from manageboot.publish import keys, metadata
from manageboot.publish.metadata import State
from manageboot.release import description, rollout
from manageboot.system import files

if TYPE_CHECKING:
    from securesystemslib.signer import Signer
    from tuf.api.metadata import Metadata, TargetFile, Targets


def find(directory: str, state: State) -> "Metadata[Targets] | None":
    """Return the draft of the next targets; None: there is none, or something else was published since.

    Raises:
        MetadataError: it says what no draft would.
        InputError, NotPermittedError, DeviceError: it can't be read.
    """
    folder = metadata.folder(directory)
    last = state.roles["targets"].signed.version if state.roles else 0
    coming = metadata.next_version(directory, "targets")
    for version in range(coming, last, -1):
        path = os.path.join(folder, metadata.draft_name(version, "targets"))
        if os.path.lexists(path):
            content = metadata.read_bytes(path)
            if version == coming or _is_written(os.path.join(folder, f"{version}.targets.json"), content):
                return _parse(content, os.path.basename(path), version, state)
    return None


def write(directory: str, state: State, draft: "Metadata[Targets]", signers: "Sequence[Signer]") -> str:
    """Sign a draft with some of its keys, and write it; return what was done, and what it changes, as lines.

    Durability: it is on the disk once this returns; cut before, the old draft is there or the new one.
    """
    for signer in signers:
        draft.sign(signer, append=True)
    metadata.write(directory, metadata.draft_name(draft.signed.version, "targets"), draft)
    return "\n".join((stands(state, draft), *changes(state, draft)))


def is_complete(state: State, draft: "Metadata[Targets]") -> bool:
    """Say whether enough keys have signed it, in time."""
    return not _missing(state, draft) and not draft.signed.is_expired()


def stands(state: State, draft: "Metadata[Targets]") -> str:
    """Say how far it is."""
    what = f"targets {draft.signed.version} is a draft"
    if draft.signed.is_expired():
        return f"{what} that has expired on {draft.signed.expires:%Y-%m-%d}; begin it anew"
    missing = _missing(state, draft)
    if not missing:
        return f"{what} that enough keys have signed; those of snapshot and timestamp publish it"
    return f"{what}: {missing} of the keys {keys.named(_result(state, draft).unsigned)} have to sign it yet"


def changes(state: State, draft: "Metadata[Targets]") -> Iterator[str]:
    """Say what it changes of what is published, as lines."""
    for path, target in _changed(state, draft):
        yield f"it adds {_shown(path, target)}" if target is not None else f"it withdraws release {_version(path)}"
    yield f"it lasts until {draft.signed.expires:%Y-%m-%d}"


def releases(state: State, draft: "Metadata[Targets]") -> Iterator[str]:
    """Say what became of releases when it was published, in a few words each."""
    for path, target in _changed(state, draft):
        yield f"release {_version(path)} is {'withdrawn' if target is None else 'signed'}"


def remove(directory: str, draft: "Metadata[Targets]") -> None:
    """Remove a draft that was published.

    Raises:
        DeviceError, NotPermittedError: it can't be removed.
    """
    metadata.remove(directory, metadata.draft_name(draft.signed.version, "targets"))


def _changed(state: State, draft: "Metadata[Targets]") -> "Iterator[tuple[str, TargetFile | None]]":
    """Give what is new or another by its path; None: it is gone."""
    old = state.roles["targets"].signed.targets if state.roles else {}
    new = draft.signed.targets
    yield from ((path, target) for path, target in new.items() if old.get(path) != target)
    yield from ((path, None) for path in old if path not in new)


def _is_written(path: str, content: bytes) -> bool:
    """Say whether a run has begun to publish it, and was cut before nodes could see it."""
    return files.is_there(path) and metadata.read_bytes(path) == content


def _parse(content: bytes, name: str, version: int, state: State) -> "Metadata[Targets]":
    draft = metadata.parse(content, name)
    signed = draft.signed
    if signed.type != "targets" or signed.version != version:
        raise errors.MetadataError(f"cannot read {name}: it is {signed.type} {signed.version}")
    # What nobody is shown, nobody signs.
    known = signed.delegations is None and not signed.unrecognized_fields
    if not known or not all(target is None or _is_known(path, target) for path, target in _changed(state, draft)):
        cause = "it names more than releases"
        raise errors.MetadataError(f"cannot read {name}: {cause}", hint="remove it, and begin it anew")
    return draft


def _is_known(path: str, target: "TargetFile") -> bool:
    """Say whether all that is signed of a target can be shown."""
    folder, name = os.path.split(path)
    custom = target.custom
    try:
        rollout.parse(custom)
    except ValueError:
        return False
    return (
        name == description.NAME
        and description.VERSION.fullmatch(folder) is not None
        and target.unrecognized_fields.keys() == {"custom"}
        and isinstance(custom, dict)
        and custom.keys() <= {"index", rollout.KEY}
        and type(custom.get("index")) is int
        and target.hashes.keys() == {"sha256"}
        and re.fullmatch("[0-9a-f]{64}", target.hashes["sha256"]) is not None
    )


def _shown(path: str, target: "TargetFile") -> str:
    staged = rollout.parse(target.custom)
    share = "" if staged is None else f", for {staged}"
    digest = target.hashes["sha256"]
    return f"release {_version(path)}, index {target.custom['index']}{share}; its {description.NAME} is {digest}"


def _version(path: str) -> str:
    return os.path.dirname(path)


def _missing(state: State, draft: "Metadata[Targets]") -> int:
    missing: int = _result(state, draft).missing
    return missing


def _result(state: State, draft: "Metadata[Targets]") -> Any:
    return state.root.get_verification_result("targets", draft.signed_bytes, draft.signatures)
