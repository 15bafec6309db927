"""What `check` tells of a rollout, and what by hand it does not hold back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from channel.channelnode import make_release
from manageboot import config
from manageboot.boot.node import observe
from manageboot.channel import channel, turn
from manageboot.channel.channel import Wanted
from manageboot.cli import main
from manageboot.release import rollout
from support.blocks import environment_block
from support.tufrepository import Repository

OWN = "0123456789abcdef" * 2


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Path]:
    """Publish a release with what is signed of it, for a node without devices; give that one's configuration."""
    (tmp_path / "machine-id").write_text(OWN)
    monkeypatch.setattr(turn, "_MACHINE_ID", str(tmp_path / "machine-id"))
    (tmp_path / "cmdline").write_text("dfinity.system=A\n")
    (tmp_path / "grubenv").write_bytes(environment_block(boot_alternative="A", boot_cycle="stable"))
    repository = Repository(tmp_path / "www")
    repository.add(make_release(tmp_path / "images", 1), "1.1")
    slots = "".join(f'[slots.{slot}]\nboot = "/dev/{slot}1"\nroot = "/dev/{slot}2"\n' for slot in "AB")
    path = tmp_path / "manageboot.toml"
    path.write_text(
        f'[boot]\ngrubenv = "{tmp_path}/grubenv"\ncmdline = "{tmp_path}/cmdline"\n'
        f'[state]\ndirectory = "{tmp_path}/state"\nlock = "{tmp_path}/run/lock"\n'
        f'[channel]\nmirrors = ["{repository.directory}"]\nroot = "{repository.root_path}"\n{slots}'
    )

    def publish(custom: Any) -> Path:
        repository.custom = {"1.1/release.json": custom}
        repository.publish()
        return path

    return publish


def checked(path: Path, capfd: pytest.CaptureFixture[str]) -> tuple[dict[str, Any] | None, str]:
    assert main.run(["-c", str(path), "check", "--json"]) == 0
    [release] = json.loads(capfd.readouterr().out)["releases"]
    assert main.run(["-c", str(path), "check"]) == 0
    return release["rollout"], capfd.readouterr().out


def test_check_tells_where_a_node_stands(published: Callable[[Any], Path], capfd: pytest.CaptureFixture[str]):
    path = published({"index": 1})
    sha256 = channel.offers(config.load(str(path)), observe(config.load(str(path))), Wanted()).offers[0].sha256
    place = rollout.place(OWN, sha256)
    assert checked(path, capfd)[0] is None
    for points, come in ((place, False), (place + 1, True), (0, False), (10_000, True)):
        told, text = checked(published({"index": 1, "rollout": {"basis_points": points}}), capfd)
        words = f"{points / 100:g} % of the nodes"
        assert told == {"words": words, "share": points / 100, "place": place / 100, "has_come": come}
        stands = f"this node is at {place / 100:g} %: its turn has{'' if come else ' not'} come"
        assert f"rollout: for {words}, {points / 100:g} % now; {stands}" in text
    told, _ = checked(published({"rollout": {"basis_points": 10_000, "from": "2500-01-01T00:00Z"}}), capfd)
    assert told == {
        "words": "100 % of the nodes from 2500-01-01T00:00:00Z on", "share": 0, "place": place / 100, "has_come": False,
    }  # fmt: skip


def test_a_rollout_that_makes_no_sense_is_for_nobody_and_by_hand_for_whom_it_is_asked(
    published: Callable[[Any], Path], capfd: pytest.CaptureFixture[str]
):
    path = published({"index": 1, "rollout": {"basis_points": 1, "regions": ["eu"]}})
    told, _ = checked(path, capfd)
    assert told is not None and (told["share"], told["has_come"]) == (0, False)
    settings = config.load(str(path))
    node = observe(settings)
    assert channel.choose(node, Wanted(), channel.offers(settings, node, Wanted())).release.version == "1.1"
