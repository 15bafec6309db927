"""A node whose channel is a network: what it asks which server for, on the command line."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from channel.channelnode import ChannelNode, channel_node
from channel.test_network import LINES, PACK, mirror
from support import hostile
from support.hostile import honest

pytestmark = pytest.mark.devices


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[ChannelNode]:
    with channel_node(tmp_path) as node:
        node.release(1)
        yield node


def configure(channel: ChannelNode, *mirrors: str, more: str = "") -> None:
    channel.configure(LINES + more, mirrors=", ".join(f'"{one}"' for one in mirrors))


def test_the_newest_release_comes_from_whichever_mirror_has_it(channel: ChannelNode):
    www = channel.repository.directory
    with (
        mirror(www, hostile.portal, about="timestamp.json") as portal,
        mirror(www, hostile.wrong_bytes) as liar,
        mirror(www, honest) as good,
    ):
        configure(channel, portal.url, liar.url, good.url, more=f'[metrics]\ndirectory = "{channel.directory}"')
        done = channel.node.run("upgrade-install")
        assert done.returncode == 0, done.stderr
        assert channel.holds("B", 1)
        assert f"{portal.url} is passed over: metadata/timestamp.json: cannot trust" in done.stderr
        assert f"{liar.url} is passed over: 1.1/full.pack" in done.stderr
        # Nobody is asked for what is not taken.
        pack = [asked for asked in good.asked if asked.path.endswith(PACK)]
        assert sum(asked.stop - asked.start for asked in pack) == len(pack[0].content)
        metrics = (channel.directory / "manageboot_fetch.prom").read_text()
        assert f'manageboot_fetch_mirror_out{{mirror="{liar.url}"}} 1.0\n' in metrics
        assert f'manageboot_fetch_error{{code="FETCH_LIED",mirror="{liar.url}"}} 1.0\n' in metrics
        [came] = re.findall(rf'manageboot_fetch_bytes{{mirror="{good.url}"}} (.*)', metrics)
        assert float(came) >= len(pack[0].content)
        # What lied about one file is asked for no other.
        assert {asked.path for asked in portal.asked} == {"/metadata/2.root.json", "/metadata/timestamp.json"}


def test_check_says_which_release_was_begun(channel: ChannelNode):
    www, node = channel.repository.directory, channel.node
    channel.release(2)
    # The heads of both images come, then the line ends.
    with mirror(www, honest, honest, hostile.answers(404)) as server:
        configure(channel, server.url)
        node.fails("upgrade-install", status=66, code="FETCH_GONE")
        assert [one["begun"] for one in json.loads(node.ok("check", "--json"))["releases"]] == ["B", None]
        assert (
            node.ok("check").splitlines()[3]
            == "         begun: slot B may hold a part of it, which is not fetched again"
        )
    with mirror(www, honest) as server:
        configure(channel, server.url)
        node.ok("upgrade-install")
        assert "begun" not in node.ok("check")


@pytest.mark.long
def test_a_release_has_a_url_of_its_own(channel: ChannelNode):
    pin = hashlib.sha256((channel.repository.directory / "1.1/release.json").read_bytes()).hexdigest()
    with mirror(channel.repository.directory.parent, honest) as server:
        configure(channel)
        url = f"{server.url}www/1.1"
        channel.node.fails("upgrade-install", url, "--release-sha256", "0" * 64, status=65, code="PINNED_SHA256")
        channel.node.ok("upgrade-install", f"{url}/")
        assert channel.holds("B", 1)
        channel.node.ok("upgrade-install", url, "--release-sha256", pin)
        report = json.loads(channel.node.ok("check", f"{server.url}www/", "--json"))
        assert [one["place"] for one in report["releases"]] == [url]


@pytest.mark.long
def test_a_stick_is_asked_before_the_network(channel: ChannelNode):
    with mirror(channel.repository.directory, honest) as server:
        configure(channel, str(channel.repository.directory), server.url)
        channel.node.ok("upgrade-install")
        assert server.asked == []
        configure(channel, "/nowhere", server.url)
        assert "/nowhere is passed over" in channel.node.run("check").stderr
        assert server.asked != []
