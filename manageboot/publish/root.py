"""The root of trust: which keys may sign what, and how many of them have to.

A new root is a draft first, which its keys sign one after the other, also on different machines: one carries the
directory along. With enough signatures, of the old root as well, it is published.
"""

import copy
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from manageboot import errors
from manageboot.publish import keys, metadata, secrets
from manageboot.publish.metadata import ROLES, State
from manageboot.publish.secrets import Secret

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root

DAYS = 730
ROOT_THRESHOLD = 2


class Changes(NamedTuple):
    """What is to be changed."""

    add: Sequence[tuple[str, str]] = ()
    """A role, and the file of a public key."""
    remove: Sequence[tuple[str, str]] = ()
    """A role, and the file of a public key, or the beginning of its id."""
    thresholds: Sequence[tuple[str, int]] = ()
    """A role, and how many of its keys have to sign."""
    days: int | None = None
    """How long it is to be trusted."""


def change(directory: str, changes: Changes, private_keys: Sequence[str], secret: Secret = secrets.ask) -> str:
    """Draft a new root, or change the draft, and sign it with some of its keys.

    Args:
        directory: what is published; `metadata` is made in it.
        changes: none: the draft stays as it is. Others take away the signatures it has.
        private_keys: as for `keys.signers`.
        secret: gives the PIN or the passphrase of a key.

    Returns:
        What was done, as a sentence.

    Raises:
        UsageError: there is nothing to do.
        MetadataError: a key can't be used, or a role would have fewer keys than have to sign.
        LockedError: another run is at work.

    Durability: what it says is on the disk; cut before, the draft is the old one or the new one, and nodes see the old
    root or the new one.
    """
    with metadata.locked(directory):
        state = metadata.load(directory)
        draft = _draft(directory, state)
        if any(changes):
            known = [*state.roots[-1:], *([draft] if draft else [])]
            root = copy.deepcopy(known[-1].signed) if known else _first()
            _apply(root, changes)
            draft = _unsigned(root, len(state.roots) + 1, changes.days or DAYS)
        if draft is None:
            raise errors.UsageError("cannot sign a new root: there is no draft", hint="--add ROLE=FILE begins one")
        return _sign(directory, state, draft, private_keys, secret)


def _draft(directory: str, state: State) -> "Metadata[Root] | None":
    name = metadata.draft_name(len(state.roots) + 1, "root")
    is_there = os.path.lexists(os.path.join(metadata.folder(directory), name))
    return metadata.read(directory, name) if is_there else None


def _first() -> "Root":
    from tuf.api.metadata import Root

    root = Root(consistent_snapshot=True)
    root.roles["root"].threshold = ROOT_THRESHOLD
    return root


def _unsigned(root: "Root", version: int, days: int) -> "Metadata[Root]":
    from tuf.api.metadata import Metadata

    root.version = version
    root.expires = metadata.expiry(days, metadata.now())
    return Metadata(root)


def _apply(root: "Root", changes: Changes) -> None:
    for role, path in changes.add:
        root.add_key(keys.read_public(path), role)
    for role, which in changes.remove:
        root.revoke_key(_key_of(root, role, which), role)
    for role, threshold in changes.thresholds:
        root.roles[role].threshold = threshold
    for role in ROLES:
        has, needs = len(root.roles[role].keyids), root.roles[role].threshold
        if has < needs:
            cause = f"{role} has {has} keys, and {needs} have to sign"
            raise errors.MetadataError(
                f"cannot draft a root: {cause}", hint=f"--add {role}=FILE, or --threshold {role}=N"
            )


def _key_of(root: "Root", role: str, which: str) -> str:
    """Return the id of a key of a role."""
    wanted = keys.read_public(which).keyid if os.path.exists(which) else which
    found = [keyid for keyid in root.roles[role].keyids if len(wanted) >= 8 and keyid.startswith(wanted)]
    if len(found) != 1:
        raise errors.MetadataError(
            f"cannot remove {which}: {role} has no such key, only {keys.named(root.roles[role].keyids)}"
        )
    return found[0]


def _sign(directory: str, state: State, draft: "Metadata[Root]", private_keys: Sequence[str], secret: Secret) -> str:
    previous = state.roots[-1].signed if state.roots else None
    judges = [draft.signed, *([previous] if previous is not None else [])]
    may = {keyid: judge.keys[keyid] for judge in judges for keyid in judge.roles["root"].keyids}
    for signer in keys.signers(private_keys, may, secret):
        draft.sign(signer, append=True)
    result = draft.signed.get_root_verification_result(previous, draft.signed_bytes, draft.signatures)
    version = draft.signed.version
    name = metadata.draft_name(version, "root")
    if not result.verified:
        metadata.write(directory, name, draft)
        missing = max(result.first.missing, result.second.missing)
        return f"root {version} is a draft: {missing} of the keys {keys.named(result.unsigned)} have to sign it yet"
    metadata.write(directory, f"{version}.root.json", draft)
    metadata.remove(directory, name)
    return f"root {version} is published, until {draft.signed.expires:%Y-%m-%d}{_rest(directory)}"


def _rest(directory: str) -> str:
    """Say what has to be signed again, as a half sentence."""
    stale = sorted(metadata.load(directory).stale)
    return f"; nodes refuse {' and '.join(stale)} until the new keys sign again" if stale else ""
