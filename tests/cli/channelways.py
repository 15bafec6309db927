"""Ways to the code words of a channel: what is published, what the node is, and what is typed then."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from manageboot.release.description import Requirements
from support.node import LoopNode, Node
from support.releases import small_release
from support.tufrepository import Repository

Way = Callable[[Node, pytest.MonkeyPatch], list[str | Path]]


def published(node: Node, name: str, **named: Any) -> Repository:
    """Publish one release, and let a node trust the repository."""
    repository = Repository(node.directory / name)
    repository.add(small_release({"boot": b"\x12boot" * 3000, "root": b"\x13root" * 3000}, **named), "1.0")
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
    "BELOW_FLOOR": below_floor,
    "OTHER_SYSTEM": required(systems=("other",)),
    "OTHER_HARDWARE": required(hardware=("other",)),
    "AGENT_TOO_OLD": required(agent="999.0.0"),
}
