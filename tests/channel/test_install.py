"""Releases on a node: the newest that fits, a named one, a pinned one; what is refused, and what the node remembers."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from channel.channelnode import ChannelNode, channel_node, make_release
from manageboot.cli import main
from support.images import make_update
from support.releases import Small

pytestmark = pytest.mark.devices


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[ChannelNode]:
    with channel_node(tmp_path) as node:
        yield node


def pin(release: Small) -> str:
    return hashlib.sha256(release.description).hexdigest()


def floor_of(channel: ChannelNode) -> int:
    return json.loads(channel.floor_file.read_text())["index"]


@pytest.mark.long
def test_the_newest_release_is_installed_and_raises_the_floor_once_it_is_confirmed(channel: ChannelNode):
    node = channel.node
    channel.release(3)
    channel.release(2)
    node.ok("upgrade-install")
    assert channel.holds("B", 3)
    record = node.status()["slots"]["B"]["record"]
    assert (record["state"], record["version"]) == ("installed", "1.3")
    assert floor_of(channel) == 0
    channel.confirm()
    assert floor_of(channel) == 3
    assert "1.3 is the newest" in node.fails("upgrade-install", status=69, code="NO_RELEASE")
    older = channel.repository.directory / "1.2"
    assert "index is 2, and one of 3" in node.fails("upgrade-install", older, status=69, code="BELOW_FLOOR")
    # A fallback asks nobody for the floor.
    node.ok("rollback", "--no-reboot")
    node.boot()
    node.ok("confirm")
    assert (floor_of(channel), node.ok("current")) == (3, "A\n")
    node.ok("upgrade-install", older, "--allow-downgrade")
    assert channel.holds("B", 2)
    assert "index 2 below the floor of 3" in node.ok("history")
    channel.confirm()
    assert floor_of(channel) == 3


@pytest.mark.long
def test_who_goes_below_the_floor_does_not_go_below_what_a_confirmed_release_forbids(channel: ChannelNode):
    channel.release(1)
    channel.release(4, min_index=2)
    channel.node.ok("upgrade-install")
    channel.confirm()
    old = channel.repository.directory / "1.1"
    channel.node.fails("upgrade-install", old, "--allow-downgrade", status=69, code="BELOW_FLOOR")


@pytest.mark.long
def test_an_update_image_of_nobody_leaves_no_release_that_a_confirm_could_count(channel: ChannelNode, tmp_path: Path):
    channel.release(5)
    channel.node.ok("upgrade-install")
    channel.node.ok("upgrade-install", make_update(tmp_path / "update"))
    channel.confirm()
    assert floor_of(channel) == 0


def test_a_pinned_release_needs_no_metadata(channel: ChannelNode):
    node = channel.node
    release = channel.release(1)
    shutil.rmtree(channel.repository.directory / "metadata")
    directory = channel.repository.directory / "1.1"
    before = node.device_bytes("B", "root")
    node.fails("upgrade-install", directory, "--release-sha256", "0" * 64, status=65, code="PINNED_SHA256")
    # Where nothing could be noted of it in the end, the slot stays what it was.
    node.write_config(state=f'history = "{channel.directory}/none/manageboot.log"')
    node.fails("upgrade-install", directory, "--release-sha256", pin(release), status=73, code="CANNOT_CREATE")
    assert (node.device_bytes("B", "root"), node.status()["slots"]["B"]["record"]) == (before, None)
    channel.configure()
    node.ok("upgrade-install", directory, "--release-sha256", pin(release).upper())
    assert channel.holds("B", 1)


@pytest.mark.long
def test_where_a_signature_is_required_nothing_else_is_taken(channel: ChannelNode, tmp_path: Path):
    node = channel.node
    update = make_update(tmp_path / "update")
    sha256 = hashlib.sha256(update.read_bytes()).hexdigest()
    channel.configure("required = true")
    node.fails("upgrade-install", update, status=69, code="UNSIGNED")
    node.fails("upgrade-install", update, "--sha256", sha256, status=69, code="UNSIGNED")
    channel.configure("required = true\nsha256_pins = true")
    node.fails("upgrade-install", update, status=69, code="UNSIGNED")
    node.ok("upgrade-install", update, "--sha256", sha256)
    channel.configure("required = true")
    release = channel.release(1)
    node.ok("upgrade-install", channel.repository.directory / "1.1", "--release-sha256", pin(release))
    node.ok("upgrade-install")


@pytest.mark.long
def test_a_release_that_was_not_signed_is_refused(channel: ChannelNode):
    channel.release(1)
    del channel.repository.targets["1.1/release.json"]
    channel.repository.publish()
    channel.node.fails("upgrade-install", channel.repository.directory / "1.1", status=69, code="UNSIGNED")
    channel.node.fails("upgrade-install", status=69, code="NO_RELEASE")


@pytest.mark.long
def test_check_tells_what_there_is_and_why_it_is_refused(channel: ChannelNode):
    from manageboot.release.description import Requirements

    node = channel.node
    channel.release(1)
    channel.release(2, requires=Requirements(hardware=("other",)))
    channel.release(3, requires=Requirements(agent="999.0.0"))
    channel.release(4, requires=Requirements(systems=("other",)))
    report = json.loads(node.ok("check", "--json"))
    codes = [(one["index"], one["refused"] and one["refused"]["code"]) for one in report["releases"]]
    assert codes == [(4, "OTHER_SYSTEM"), (3, "AGENT_TOO_OLD"), (2, "OTHER_HARDWARE"), (1, None)]
    directory = channel.repository.directory / "1.1"
    sizes = {name: (directory / name).stat().st_size for name in ("full.pack", "release.idx", "update-img.tar.zst")}
    assert report["releases"][-1]["ways"] == [
        {"way": "full", "bytes": sizes["full.pack"] + sizes["release.idx"]},
        {"way": "archive", "bytes": sizes["update-img.tar.zst"]},
    ]
    assert "refused: cannot install release 1.4" in node.ok("check")
    # A look keeps nothing.
    assert not channel.tuf_file.exists()
    node.ok("upgrade-install")
    assert channel.holds("B", 1)
    node.fails("upgrade-install", channel.repository.directory / "1.4", status=69, code="OTHER_SYSTEM")
    channel.configure('hardware = "other"\nsystem = "other"')
    node.ok("upgrade-install", channel.repository.directory / "1.4")


@pytest.mark.long
def test_a_bad_mirror_is_passed_over(channel: ChannelNode, tmp_path: Path):
    channel.release(1)
    good = channel.repository.directory
    shutil.copytree(good, tmp_path / "bad")
    (tmp_path / "bad/metadata/timestamp.json").write_bytes(b"a captive portal")
    channel.configure(mirrors=f'"{tmp_path}/bad", "file://{good}"')
    done = channel.node.run("upgrade-install")
    assert (done.returncode, "bad is passed over" in done.stderr) == (0, True), done
    channel.configure(mirrors='"nfs://example.org/releases"')
    channel.node.fails("upgrade-install", status=69, code="NO_NETWORK")


def test_a_release_that_claims_to_be_of_the_future_changes_no_time(channel: ChannelNode):
    """Else all metadata is over by it, and no window opens."""
    channel.release(1, built=5)
    channel.release(2, built=1 << 40)
    channel.node.ok("upgrade-install")
    channel.node.ok("check")
    assert json.loads(channel.tuf_file.read_text())["built"] == 5


def test_a_release_that_this_version_cannot_read_stands_in_the_way_of_no_other(channel: ChannelNode):
    """Else a node would never get the release that reads it."""
    node = channel.node
    channel.release(1)
    of_the_future = make_release(channel.directory / "images2", 2)
    later = of_the_future.description.replace(b'"format": "1.0"', b'"format": "2.0"')
    channel.repository.add(of_the_future._replace(description=later), "1.2")
    channel.repository.publish()
    assert [release["version"] for release in json.loads(node.ok("check", "--json"))["releases"]] == ["1.1"]
    node.ok("upgrade-install")
    channel.confirm()
    # Where nothing else is left, it is told.
    node.fails("upgrade-install", status=65, code="RELEASE_TOO_NEW")
    node.fails("update", status=65, code="RELEASE_TOO_NEW")
    node.fails("check", channel.repository.directory / "1.2", status=65, code="RELEASE_TOO_NEW")


@pytest.mark.parametrize("name", ["release.json", "release.idx"])
def test_what_is_judged_before_a_byte_is_written_leaves_the_slot_alone(channel: ChannelNode, name: str):
    channel.release(1)
    path = channel.repository.directory / "1.1" / name
    content = bytearray(path.read_bytes())
    before = {part: channel.node.device_bytes("B", part) for part in ("boot", "root", "var")}
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    channel.node.fails("upgrade-install", status=65, code="RELEASE_SHA256")
    assert {part: channel.node.device_bytes("B", part) for part in before} == before
    assert channel.node.status()["slots"]["B"]["record"] is None


def test_a_frame_that_is_wrong_leaves_a_void_slot(channel: ChannelNode):
    channel.release(1)
    path = channel.repository.directory / "1.1" / "full.pack"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    channel.node.fails("upgrade-install", status=65, code="RELEASE_SHA256")
    assert channel.node.record("B") == "void"
    channel.node.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")


def test_a_library_that_lacks_a_file_of_the_system_is_no_bug_of_ours(
    channel: ChannelNode, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """So it is where requests finds no certificates, which it reads while it is imported."""

    class Lacking:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "tuf":
                raise FileNotFoundError(2, "No such file or directory", "ca-certificates.crt")

    for module in ("tuf", "manageboot.channel.trust"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delattr("manageboot.channel.trust", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Lacking, *sys.meta_path])
    assert main.run(["-c", str(channel.node.config), "check"]) == 69
    [told, _] = capfd.readouterr().err.splitlines()
    assert told.startswith("manageboot: error: cannot verify signatures: ")
    assert told.endswith(" No such file or directory: 'ca-certificates.crt' [NO_TUF]")
