"""Tells nodes of releases: signs targets, then snapshot, then timestamp, so that a cut leaves what was there.

Nodes begin with timestamp.json, which is replaced last. The other files get names that nobody has asked for before.
Targets whose keys are not all in one place are a draft first.
"""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from manageboot import errors
from manageboot.install.progress import Style
from manageboot.publish import draft, keys, metadata, secrets
from manageboot.publish.checkrelease import check_release
from manageboot.publish.metadata import State
from manageboot.publish.secrets import Secret
from manageboot.release import description, rollout
from manageboot.release.rollout import Rollout

if TYPE_CHECKING:
    from securesystemslib.signer import Key, Signer
    from tuf.api.metadata import Metadata, Root, Targets

DAYS = {"targets": 365, "snapshot": 90, "timestamp": 14}
ORDER = ("targets", "snapshot", "timestamp")


class Order(NamedTuple):
    """What is to be signed."""

    versions: Sequence[str] = ()
    """Releases to add."""
    remove: Sequence[str] = ()
    """Releases to withdraw."""
    private_keys: Sequence[str] = ()
    """As for `keys.signers`."""
    secret: Secret = secrets.ask
    """Gives the PIN or the passphrase of a key."""
    days: Mapping[str, int] = DAYS
    """How long each role is to be trusted."""
    style: Style = "auto"
    rollout: Rollout | None = None
    """How many nodes take the added releases by themselves; None: all."""
    draft: bool = False
    """Whether only targets are drafted, or their draft is signed."""


def sign(directory: str, order: Order) -> str:
    """Sign what nodes are to know.

    Args:
        directory: what is published.
        order: without releases to add or to withdraw, it renews what the keys can sign: timestamp alone, snapshot with
            it, or all three. With snapshot it publishes a draft that enough keys of targets have signed.

    Returns:
        What was signed, as a sentence; of a draft, also what it changes, in a line each.

    Raises:
        MetadataError: there is no root, what is published is not whole, or a draft waits that would count no more.
        SignaturesMissingError: too few keys were given; nothing was written.
        DataError, InputError: a release is not whole, or its index is not higher than that of all others.
        LockedError: another run is at work.

    Durability: what it says is on the disk; cut before, nodes see what was signed before, or all that is new.
    """
    with metadata.locked(directory):
        state = metadata.load(directory)
        if not state.roots:
            raise errors.MetadataError(f"cannot sign {directory}: it has no root", hint="manageboot release root")
        if state.root.is_expired():
            cause = f"its root has expired on {state.root.expires:%Y-%m-%d}"
            raise errors.MetadataError(f"cannot sign {directory}: {cause}", hint="manageboot release root --expires")
        waiting = draft.find(directory, state)
        act = _draft if order.draft else _publish
        return act(directory, state, waiting, order)


def target_path(version: str) -> str:
    """Return the name under which TUF knows a release."""
    return f"{version}/{description.NAME}"


def index_of(target: Any) -> int | None:
    """Return the release index that the metadata says of a release; None: none that can be meant."""
    custom = target.custom
    index = custom.get("index") if isinstance(custom, dict) else None
    return index if isinstance(index, int) and not isinstance(index, bool) else None


def _publish(directory: str, state: State, waiting: "Metadata[Targets] | None", order: Order) -> str:
    """Sign all that is new, and let nodes see it; return what was signed, as a sentence."""
    signers = keys.signers(order.private_keys, _may_sign(state, ORDER), order.secret)
    is_asked = bool(order.versions or order.remove)
    ready = waiting if waiting and not is_asked and draft.is_complete(state, waiting) else None
    fresh = _targets(directory, state.roles.get("targets"), order) if is_asked or not state.roles else None
    made = _make(directory, state, ready or fresh, signers, order.days)
    if waiting is not None and "targets" in made and made["targets"] is not ready:
        name = metadata.draft_name(waiting.signed.version, "targets")
        raise errors.MetadataError(
            f"cannot sign targets: {draft.stands(state, waiting)}",
            hint=f"sign the draft with --draft, or remove {os.path.join(metadata.folder(directory), name)}",
        )
    for role, signed in made.items():
        _check_signatures(state.root, role, signed)
    for role, signed in made.items():
        name = f"{role}.json" if role == "timestamp" else f"{signed.signed.version}.{role}.json"
        metadata.write(directory, name, signed)
    staged = "" if order.rollout is None else f" for {order.rollout}"
    said = [f"release {version} is signed{staged}" for version in order.versions]
    said += [f"release {version} is withdrawn" for version in order.remove]
    if ready is not None and "targets" in made:
        said += draft.releases(state, ready)
        draft.remove(directory, ready)
    what = ", ".join(f"{role} {signed.signed.version}" for role, signed in made.items())
    until = min(made.values(), key=lambda one: one.signed.expires).signed.expires
    return f"{', '.join([*said, what])}; to be renewed before {until:%Y-%m-%d}"


def _draft(directory: str, state: State, waiting: "Metadata[Targets] | None", order: Order) -> str:
    """Draft targets, or change the draft, which takes away its signatures; sign it with the keys that are there."""
    from tuf.api.metadata import Metadata

    signers = keys.signers(order.private_keys, _may_sign(state, ["targets"]), order.secret)
    if waiting is None or order.versions or order.remove:
        targets = _targets(directory, waiting or state.roles.get("targets"), order)
        targets.version = metadata.next_version(directory, "targets")
        targets.expires = metadata.expiry(order.days["targets"], metadata.now())
        waiting = Metadata(targets)
    return draft.write(directory, state, waiting, signers)


def _may_sign(state: State, roles: Sequence[str]) -> "dict[str, Key]":
    return {keyid: state.root.keys[keyid] for role in roles for keyid in state.root.roles[role].keyids}


def _targets(directory: str, known: "Metadata[Targets] | None", order: Order) -> "Targets":
    """Return what is to be signed as targets; `known` is what they are made from."""
    from tuf.api.metadata import TargetFile, Targets

    targets = Targets() if known is None else copy.deepcopy(known.signed)
    for version in order.remove:
        if targets.targets.pop(target_path(version), None) is None:
            raise errors.InputError(f"cannot withdraw release {version}: it is not signed")
    for version in order.versions:
        if not description.VERSION.fullmatch(version):
            raise errors.UsageError(f"cannot sign {version!r}: it is not a version", hint=f"ls {directory}")
        if order.rollout is not None and (target := _same(directory, version, targets)) is not None:
            target.unrecognized_fields["custom"][rollout.KEY] = order.rollout.to_json()
            continue
        content, release = check_release(os.path.join(directory, version), order.style)
        target = TargetFile.from_data(target_path(version), content, ["sha256"])
        target.unrecognized_fields["custom"] = {"index": release.release_index}
        if order.rollout is not None:
            target.unrecognized_fields["custom"][rollout.KEY] = order.rollout.to_json()
        others = {path: index_of(other) or 0 for path, other in targets.targets.items() if path != target.path}
        for path, index in others.items():
            if index >= release.release_index:
                cause = f"its index is {release.release_index}, and that of {os.path.dirname(path)} is {index}"
                hint = "build it with a higher --index"
                raise errors.ReleaseFormatError(f"cannot sign release {version}: {cause}", hint=hint)
        targets.targets[target.path] = target
    return targets


def _same(directory: str, version: str, targets: "Targets") -> Any:
    """Return what is signed of a release, if that is the one that is there; so a rollout is stopped in no time."""
    from tuf.api.exceptions import LengthOrHashMismatchError

    target = targets.targets.get(target_path(version))
    if target is None or index_of(target) is None:
        return None
    content = metadata.read_bytes(os.path.join(directory, target.path), description.DESCRIPTION_BYTES_MAX)
    try:
        target.verify_length_and_hashes(content)
    except LengthOrHashMismatchError:
        return None
    return target


def _make(
    directory: str,
    state: State,
    fresh: "Targets | Metadata[Targets] | None",
    signers: "Sequence[Signer]",
    days: Mapping[str, int],
) -> "dict[str, Metadata[Any]]":
    """Make the files that are to be written, in order.

    Args:
        directory: what is published.
        state: the same.
        fresh: the targets; signed: they are published as soon as the snapshot can be; None: they stay as they are.
        signers: sign what is of their roles.
        days: how long each role is to be trusted.
    """
    from tuf.api.metadata import Metadata, Snapshot, Timestamp

    now = metadata.now()
    able = _able(state, signers)
    made: dict[str, Metadata[Any]] = {}

    def add(role: str, make: Callable[[], Any]) -> None:
        signed = make()
        signed.version = _version(directory, state, role)
        signed.expires = metadata.expiry(days[role], now)
        made[role] = Metadata(signed)
        for signer in signers:
            if signer.public_key.keyid in state.root.roles[role].keyids:
                made[role].sign(signer, append=True)

    if isinstance(fresh, Metadata):
        if "snapshot" in able or not state.roles:
            made["targets"] = fresh
    elif fresh is not None or "targets" in state.stale or "targets" in able:
        add("targets", lambda: fresh or copy.deepcopy(state.roles["targets"].signed))
    if "targets" in made or "snapshot" in state.stale or "snapshot" in able:
        add("snapshot", lambda: Snapshot(meta={"targets.json": _named(made.get("targets") or state.roles["targets"])}))
    add("timestamp", lambda: Timestamp(snapshot_meta=_named(made.get("snapshot") or state.roles["snapshot"])))
    return made


def _version(directory: str, state: State, role: str) -> int:
    if role != "timestamp":
        return metadata.next_version(directory, role)
    last: int = state.roles[role].signed.version if state.roles else 0
    return last + 1


def _named(signed: "Metadata[Any]") -> Any:
    """Say which file it is."""
    from tuf.api.metadata import MetaFile

    return MetaFile.from_data(signed.signed.version, signed.to_bytes(), ["sha256"])


def _able(state: State, signers: "Sequence[Signer]") -> set[str]:
    """Return the roles that these keys can renew, each with those above it."""
    given = {signer.public_key.keyid for signer in signers}
    able: set[str] = set()
    for role in reversed(ORDER):
        of_role = state.root.roles[role]
        if len(given.intersection(of_role.keyids)) < of_role.threshold:
            break
        able.add(role)
    return able


def _check_signatures(root: "Root", role: str, signed: "Metadata[Any]") -> None:
    result = root.get_verification_result(role, signed.signed_bytes, signed.signatures)
    if not result.verified:
        cause = f"{len(result.signed)} of {result.threshold} keys were given"
        hint = f"--key with the private keys of {keys.named(result.unsigned)}"
        raise errors.SignaturesMissingError(f"cannot sign {role}: {cause}", hint=hint)
