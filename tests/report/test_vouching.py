"""What `status` says of the floor, of the release in each slot, and of who signed."""

import json
from pathlib import Path

from manageboot import config
from manageboot.boot import floor
from manageboot.boot.floor import Installed
from manageboot.channel import kept
from manageboot.channel.kept import Kept
from manageboot.protocol import Slot
from manageboot.report import page, status
from support.blocks import environment_block


def settings(directory: Path) -> config.Config:
    (directory / "cmdline").write_text("dfinity.system=A\n")
    (directory / "grubenv").write_bytes(environment_block(boot_alternative="A", boot_cycle="stable"))
    slots = "".join(f'[slots.{slot}]\nboot = "/dev/{slot}1"\nroot = "/dev/{slot}2"\n' for slot in "AB")
    (directory / "config").write_text(
        f'[boot]\ngrubenv = "{directory}/grubenv"\ncmdline = "{directory}/cmdline"\n'
        f'[state]\ndirectory = "{directory}/state"\nlock = "{directory}/run/lock"\n{slots}'
    )
    return config.load(str(directory / "config"))


def test_a_node_without_releases_says_nothing_of_them(tmp_path: Path):
    report = status.collect(settings(tmp_path))
    assert report["channel"] == {
        "floor": 0, "min_index": 0, "expires": None, "signed_by": [], "releases": {"A": None, "B": None},
    }  # fmt: skip
    assert not {"floor", "channel"} & {word for line in page.render(report).splitlines() for word in line.split()[:1]}


def test_it_says_who_signed_until_when_and_what_is_the_least(tmp_path: Path):
    node = settings(tmp_path)
    key = "0123456789abcdef" * 4
    floor.note(node, Slot.A, Installed("1.7", 7, 2, "0" * 64, (key,), "ab"))
    floor.note(node, Slot.B, Installed("1.8", 8, 2, "1" * 64, (), "cd"))
    floor.confirmed(node, Slot.A, "ab")
    kept.store(node, Kept(expires="2027-01-01T00:00:00+00:00", signed_by=(key,)))
    report = status.collect(node)
    assert report["channel"]["releases"]["A"] == {
        "version": "1.7", "index": 7, "min_index": 2, "sha256": "0" * 64, "signed_by": [key], "transaction": "ab",
    }  # fmt: skip
    text = page.render(report)
    assert "slot A: 1.7, index 7, signed by 0123456789ab" in text
    assert "slot B: 1.8, index 8, pinned" in text
    assert "signed by 0123456789ab, until 2027-01-01" in text
    assert (report["channel"]["floor"], report["channel"]["min_index"]) == (7, 2)


def test_what_can_not_be_read_is_a_problem_and_no_error(tmp_path: Path):
    node = settings(tmp_path)
    for name in ("manageboot.floor", "manageboot.tuf"):
        (tmp_path / name).write_text("{")
    problems = status.collect(node)["problems"]
    assert {problem["code"] for problem in problems} >= {"FLOOR_DAMAGED", "METADATA"}
    assert json.dumps(problems)
