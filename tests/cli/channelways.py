"""Ways to the code words of a channel: what is published, what the node is, and what is typed then."""

import hashlib
import json
import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from manageboot.release.description import Requirements
from support.deltas import with_delta
from support.node import LoopNode, Node
from support.releases import Small, small_release
from support.tufrepository import Repository

Way = Callable[[Node, pytest.MonkeyPatch], list[str | Path]]


def published(node: Node, name: str, *, release: Small | None = None, **named: Any) -> Repository:
    """Publish one release, and let a node trust the repository."""
    repository = Repository(node.directory / name)
    images = {"boot": b"\x12boot" * 3000, "root": b"\x13root" * 3000}
    repository.add(release or small_release(images, **named), "1.0")
    repository.publish()
    channel = f'mirrors = ["{repository.directory}"]\nroot = "{repository.root_path}"'
    if isinstance(node, LoopNode):
        node.write_config(channel=channel)
    else:
        node.config.write_text(f"{node.config.read_text()}[channel]\n{channel}\n")
    return repository


def with_another_key(node: Node, patch: pytest.MonkeyPatch) -> list[str | Path]:
    repository = published(node, "www")
    repository.keys["timestamp"] = [CryptoSigner.generate_ed25519()]
    repository.publish()
    return ["check"]


def expired_on(node: Node, moment: datetime) -> list[str | Path]:
    repository = published(node, "www")
    repository.expires = dict.fromkeys(repository.expires, moment)
    repository.rotate()
    repository.publish()
    return ["check"]


def expired(node: Node, patch: pytest.MonkeyPatch) -> list[str | Path]:
    return expired_on(node, datetime.now(UTC).replace(microsecond=0) - timedelta(days=1))


def far_ahead(node: Node, patch: pytest.MonkeyPatch) -> list[str | Path]:
    return expired_on(node, datetime(2001, 1, 1, tzinfo=UTC))


def damaged_floor(node: Node, patch: pytest.MonkeyPatch) -> list[str | Path]:
    published(node, "www")
    (node.grubenv.parent / "manageboot.floor").write_text("{")
    return ["check"]


def without_mirrors(node: Node, patch: pytest.MonkeyPatch) -> list[str | Path]:
    return ["check"]


def without_root(node: Node, patch: pytest.MonkeyPatch) -> list[str | Path]:
    return ["check", node.directory]


def over_a_network(node: Node, patch: pytest.MonkeyPatch) -> list[str | Path]:
    node.config.write_text(f'{node.config.read_text()}[channel]\nmirrors = ["nfs://example.org/releases"]\n')
    return ["check"]


def without_tuf(node: Node, patch: pytest.MonkeyPatch) -> list[str | Path]:
    published(node, "www")
    patch.delitem(sys.modules, "manageboot.channel.trust", raising=False)
    patch.delattr("manageboot.channel.trust", raising=False)
    patch.setitem(sys.modules, "tuf", None)
    return ["check"]


def forgotten_updates(node: Node, patch: pytest.MonkeyPatch) -> list[str | Path]:
    (node.grubenv.parent / "manageboot.update").write_text("{")
    return ["update"]


def another_pin(node: Node, patch: pytest.MonkeyPatch) -> list[str | Path]:
    repository = published(node, "pinned")
    return ["upgrade-install", repository.directory / "1.0", "--release-sha256", "0" * 64]


def below_floor(node: Node, patch: pytest.MonkeyPatch) -> list[str | Path]:
    published(node, "below")
    whole = '{"schema": 1, "index": 2, "min_index": 0, "slots": {}}'
    # The other ways fail before they get to it.
    (node.grubenv.parent / "manageboot.floor").write_text(whole)
    return ["upgrade-install"]


def required(**requires: Any) -> Way:
    def way(node: Node, patch: pytest.MonkeyPatch) -> list[str | Path]:
        published(node, f"for{next(iter(requires))}", requires=Requirements(**requires))
        return ["upgrade-install"]

    return way


def another_seed(node: Node, patch: pytest.MonkeyPatch) -> list[str | Path]:
    """What the node calls the release in its booted slot is not what lies there."""
    old_images = {role: random.Random(role).randbytes(40_000) for role in ("boot", "root")}
    new_images = {role: content + b"end" for role, content in old_images.items()}
    old = small_release(old_images, version="0.9")
    new = with_delta(small_release(new_images, version="1.0", release_index=2), new_images, old, old_images)
    repository = published(node, "seed", release=new)
    node.config.write_text(f'{node.config.read_text()}[delta]\nfallback = "fail"\n')
    held = {"version": "0.9", "index": 1, "min_index": 0, "signed_by": [], "transaction": "aa"}
    slots = {"A": held | {"sha256": hashlib.sha256(old.description).hexdigest()}}
    floor = {"schema": 1, "index": 1, "min_index": 0, "slots": slots}
    (node.grubenv.parent / "manageboot.floor").write_text(json.dumps(floor))
    return ["upgrade-install", repository.directory]


CHANNEL: dict[str, Way] = {
    "METADATA_SIGNATURE": with_another_key,
    "METADATA_EXPIRED": expired,
    "CLOCK_AHEAD": far_ahead,
    "FLOOR_DAMAGED": damaged_floor,
    "NO_RELEASE": without_mirrors,
    "UPDATE_MEMORY": forgotten_updates,
    "UNSIGNED": without_root,
    "NO_NETWORK": over_a_network,
    "NO_TUF": without_tuf,
}

CHANNEL_DEVICES: dict[str, Way] = {
    "PINNED_SHA256": another_pin,
    "SEED_CHANGED": another_seed,
    "BELOW_FLOOR": below_floor,
    "OTHER_SYSTEM": required(systems=("other",)),
    "OTHER_HARDWARE": required(hardware=("other",)),
    "AGENT_TOO_OLD": required(agent="999.0.0"),
}
