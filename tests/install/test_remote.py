"""An update image from a server: the slot holds what it would hold from the file, whatever line and server do."""

import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from install.slots import assert_holds, booted_slot_hash
from manageboot.boot.header import HEADER_BYTES
from manageboot.errors import DeviceError, UsageError
from manageboot.fetch.failures import FetchError, FetchLiedError
from manageboot.image import open_image
from manageboot.image.source import CHUNK_SIZE
from support import hostile
from support.hostile import Hostile, answers, honest
from support.images import MIB, make_update
from support.node import LoopNode

pytestmark = pytest.mark.devices

CHANNEL = {"stall": 0.2, "backoff": 0.01, "deadline": 20}
LINES = "".join(f"{key} = {value}\n" for key, value in CHANNEL.items())


@pytest.fixture
def update(tmp_path: Path) -> Path:
    return make_update(tmp_path / "update", boot_size=MIB, root_size=3 * MIB)


@pytest.fixture
def fetching(node: LoopNode) -> LoopNode:
    """A node that loses its patience soon."""
    node.write_config(channel=LINES)
    return node


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_installation_from_a_bad_line_is_that_of_the_file(fetching: LoopNode, tmp_path: Path, update: Path):
    faults = [
        hostile.cut(0),
        answers(503),
        hostile.cut(200_000),
        hostile.less,
        hostile.begins_early,
        hostile.closes,
        hostile.stall(100_000),
        hostile.no_ranges,
    ]
    before = booted_slot_hash(fetching)
    with Hostile(*faults, honest, content=update.read_bytes()) as server:
        url = f"{server.url}some/update-img.tar.zst"
        words = ("upgrade-install", url, "--sha256", digest_of(update), "--progress", "json")
        done = fetching.run(*words)
        assert done.returncode == 0, done.stderr
        assert "warning" not in done.stderr
        # None of it came from the beginning again.
        starts = [asked.start for asked in server.asked]
        assert starts == sorted(starts)
        assert {asked.path for asked in server.asked} == {"/some/update-img.tar.zst"}
    assert_holds(fetching, tmp_path / "update")
    assert booted_slot_hash(fetching) == before
    record = fetching.status()["slots"]["B"]["record"]
    assert (record["version"], record["source"]) == ("0.2.0", "update-img.tar.zst")
    assert record["source_sha256"] == digest_of(update)
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert {line["bytes_total"] for line in lines if line["phase"] == "write"} == {update.stat().st_size}


def test_wrong_bytes_never_boot(fetching: LoopNode, update: Path):
    """What an attacker serves is whole in itself; only the digest tells."""
    other = make_update(update.parent.parent / "other", boot_size=MIB, root_size=MIB, seed=9)
    with Hostile(honest, content=other.read_bytes()) as server:
        words = ("upgrade-install", f"{server.url}x", "--sha256", digest_of(update))
        fetching.fails(*words, status=65, code="IMAGE_SHA256")
    assert fetching.record("B") == "void"


def test_a_server_that_lies_in_the_middle_leaves_the_slot_void(fetching: LoopNode, update: Path):
    content = update.read_bytes()
    with Hostile(hostile.cut(len(content) // 2), hostile.begins_late, content=content) as server:
        fetching.fails("upgrade-install", f"{server.url}x", status=65, code="FETCH_LIED")
    assert fetching.record("B") in {None, "void"}


def test_who_gives_no_digest_is_warned_and_a_password_in_the_query_is_not_shown(fetching: LoopNode, update: Path):
    with Hostile(honest, content=update.read_bytes()) as server:
        done = fetching.run("upgrade-install", f"{server.url}update-img.tar.zst?token=secret/x")
        assert done.returncode == 0, done.stderr
        assert {asked.path for asked in server.asked} == {"/update-img.tar.zst?token=secret/x"}
    assert "warning: nothing proves" in done.stderr
    kept = fetching.ok("status", "--json") + fetching.ok("history", "--json") + done.stderr
    assert "update-img.tar.zst" in kept
    assert "secret" not in kept


def test_what_is_in_it_is_told_as_of_the_file(fetching: LoopNode, update: Path):
    with Hostile(honest, content=update.read_bytes()) as server:
        assert fetching.ok("inspect", f"{server.url}x") == fetching.ok("inspect", update)


@pytest.mark.parametrize(
    "url",
    [
        *("http://", "http://host", "http://host/", "http://host/x/", "http:///x", "https://me:secret@host/x"),
        *("https://me:secret@host/x#y", "https://me:secret@h ost/x", "http://host/dir x/y"),
        *("http://host/x#y", "http://host/x y", "http://höst/x", "http://host/x?a\nb"),
    ],
)
def test_what_is_no_url_of_a_file(url: str):
    with pytest.raises(UsageError) as caught:
        open_image([url], channel={})
    assert "secret" not in str(caught.value)


def test_images_are_not_fetched(tmp_path: Path):
    with pytest.raises(UsageError, match="only an archive can be fetched"):
        open_image([str(tmp_path / "boot.img"), "http://127.0.0.1:1/root.img"], channel={})


def test_an_image_that_is_closed_waits_for_no_server(tmp_path: Path):
    """Neither for one that says nothing, nor until one that failed is asked again."""
    content = make_update(tmp_path / "large").read_bytes()
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for fault in (hostile.stall(CHUNK_SIZE), answers(503, Retry_After=3000)):
        patient = {"stall": 3000, "deadline": 5000}
        with Hostile(hostile.cut(CHUNK_SIZE + 1), fault, content=content) as server:
            image = open_image([f"{server.url}x"], channel=patient)
            closing = threading.Timer(0.3, image.cancel)
            closing.start()
            with image, pytest.raises((DeviceError, FetchError)):
                for member in image.members():
                    member.readinto(memoryview(bytearray(member.size)))
            closing.join()
    assert threading.active_count() <= threads
    assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_a_run_that_is_ended_leaves_no_child(fetching: LoopNode, update: Path):
    large = make_update(update.parent.parent / "large").read_bytes()
    assert len(large) > CHUNK_SIZE * 3
    with Hostile(hostile.stall(CHUNK_SIZE * 2), content=large) as server:
        fetching.write_config()
        command = fetching.command("upgrade-install", f"{server.url}x")
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            # From the wipe of the header on, the record tells how it ended.
            eventually(lambda: not any((fetching.directory / "B_boot").read_bytes()[:HEADER_BYTES]))
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 128 + signal.SIGTERM
    assert [child for child in children if Path(f"/proc/{child}").exists()] == []
    assert fetching.record("B") == "void"


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def test_a_shorter_file_in_the_middle_is_a_lie(update: Path):
    with (
        Hostile(hostile.cut(100_000), hostile.other_release, content=update.read_bytes()) as server,
        pytest.raises(FetchLiedError),
        open_image([f"{server.url}x"], channel=CHANNEL) as image,
    ):
        for member in image.members():
            member.readinto(memoryview(bytearray(member.size)))
