"""What `inspect` says of a release: who signed, what it asks for, and whether this node would take it."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from manageboot import config
from manageboot.boot import floor
from manageboot.boot.floor import Installed
from manageboot.cli import main
from manageboot.protocol import Slot
from manageboot.release.description import Requirements
from report.test_schemas import check
from support.blocks import environment_block
from support.releases import Small, small_release
from support.tufrepository import Repository

IMAGES = {"boot": b"\x12boot" * 300, "root": b"\x13root" * 300_000}


class Site:
    """What is published, and a machine that looks at it; its slots have no devices."""

    def __init__(self, directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.repository = Repository(directory / "www")
        self.config = directory / "config"
        self._directory, self._capfd = directory, capfd
        self.configure(f'root = "{self.repository.root_path}"\n')

    def configure(self, channel: str) -> None:
        directory = self._directory
        (directory / "cmdline").write_text("dfinity.system=A\n")
        (directory / "grubenv").write_bytes(environment_block(boot_alternative="A", boot_cycle="stable"))
        slots = "".join(f'[slots.{slot}]\nboot = "/dev/none{slot}1"\nroot = "/dev/none{slot}2"\n' for slot in "AB")
        self.config.write_text(
            f'[boot]\ngrubenv = "{directory}/grubenv"\ncmdline = "{directory}/cmdline"\n'
            f'[state]\ndirectory = "{directory}/state"\nlock = "{directory}/run/lock"\n[channel]\n{channel}{slots}'
        )

    def add(self, index: int = 4, **named: Any) -> Small:
        release = small_release(IMAGES, version=f"1.{index}", release_index=index, **named)
        self.repository.add(release, f"1.{index}")
        self.repository.publish()
        return release

    def confirm(self, index: int) -> None:
        """Have a release confirmed in the booted slot."""
        settings = config.load(str(self.config))
        floor.note(settings, Slot.A, Installed(f"1.{index}", index, 0, "0" * 64, (), "ab"))
        floor.confirmed(settings, Slot.A, "ab")

    def inspect(self, name: str, *, node: bool = True) -> tuple[dict[str, Any], str]:
        """Ask for JSON and for the page."""
        words = ["-c", str(self.config)] if node else []
        said = []
        for more in (["--json"], []):
            assert main.run([*words, "inspect", str(self.repository.directory / name), *more]) == 0
            said.append(self._capfd.readouterr().out)
        return check("inspect", said[0]), said[1]


@pytest.fixture
def site(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Site:
    return Site(tmp_path, capfd)


def test_a_signed_release_that_fits_is_taken(site: Site):
    release = site.add(4, min_index=2, built=1_790_000_000, requires=Requirements("0.0.1", (), ()))
    site.confirm(3)
    found, page = site.inspect("1.4")
    [key] = site.repository.keys["targets"]
    judged = found["release"]
    expires = site.repository.expires["root"].isoformat(timespec="seconds")
    assert (judged["taken"], judged["refused"], judged["untrusted"]) == (True, None, None)
    assert (judged["index"], judged["min_index"], judged["floor"], judged["built"]) == (4, 2, 3, 1_790_000_000)
    assert (judged["signed_by"], judged["expires"]) == ([key.public_key.keyid], expires)
    assert (found["format"], found["version"]) == ("release", "1.4")
    assert found["sha256"] == hashlib.sha256(release.description).hexdigest()
    assert found["size"] == len(release.pack)
    assert {name: one["size"] for name, one in found["images"].items()} == {
        f"{role}.img": len(content) for role, content in IMAGES.items()
    }
    for line in (
        "index    4, the floor of this node is 3",
        "         once it is confirmed, none below 2 is taken",
        "built    2026-09-21T14:13:20+00:00",
        "needs    manageboot 0.0.1",
        f"signed   by {key.public_key.keyid[:12]}, until {expires}",
        "taken    yes",
    ):
        assert f"{line}\n" in page


def test_one_below_the_floor_is_refused_and_was_signed_all_the_same(site: Site):
    site.add(4)
    site.confirm(5)
    found, page = site.inspect("1.4")
    assert found["release"]["signed_by"]
    assert (found["release"]["taken"], found["release"]["refused"]["code"]) == (False, "BELOW_FLOOR")
    assert "\ntaken    no: cannot install release 1.4: its index is 4, and one of 5 was confirmed here [BELOW" in page


def test_one_for_another_system_says_for_which(site: Site):
    site.add(4, requires=Requirements(None, ("one", "two"), ("x",)))
    found, page = site.inspect("1.4")
    assert found["release"]["requires"] == {"agent": None, "systems": ["one", "two"], "hardware": ["x"]}
    assert found["release"]["refused"]["code"] == "OTHER_SYSTEM"
    assert "\nneeds    system one or two\nneeds    hardware x\n" in page


def test_without_a_root_nobody_vouches_and_the_digest_would(site: Site):
    site.add(4)
    site.configure("")
    found, page = site.inspect("1.4")
    assert (found["release"]["untrusted"]["code"], found["release"]["taken"]) == ("UNSIGNED", False)
    assert (
        "signed   by nobody that this node trusts: cannot trust any release: channel.root names no root.json [UNSIG"
        in page
    )
    assert f"taken    no, unless it is pinned: --release-sha256 {found['sha256']}\n" in page


@pytest.mark.parametrize("fault", ["changed", "forged", "expired", "not-named"])
def test_what_was_not_signed_is_told_and_never_taken(site: Site, fault: str):
    repository = site.repository
    site.add(4)
    name, code = (
        "1.4",
        {"changed": "RELEASE_SHA256", "forged": "METADATA_SIGNATURE", "not-named": "UNSIGNED"}.get(fault),
    )
    if fault == "changed":
        path = repository.directory / "1.4" / "release.json"
        path.write_bytes(path.read_bytes() + b" ")
    elif fault == "forged":
        repository.keys["targets"] = [CryptoSigner.generate_ed25519()]
        repository.publish()
    elif fault == "expired":
        code = "METADATA_EXPIRED"
        repository.expires["timestamp"] -= timedelta(days=60)
        repository.publish()
    else:
        small_release(IMAGES, version="1.5", release_index=5).write(repository.directory / "1.5")
        name = "1.5"
    found, page = site.inspect(name)
    assert (found["release"]["untrusted"]["code"], found["release"]["taken"]) == (code, False)
    assert (found["release"]["signed_by"], found["release"]["refused"]) == ([], None)
    assert "signed   by nobody that this node trusts: cannot " in page


def test_a_damaged_floor_is_why_it_is_refused(site: Site, tmp_path: Path):
    site.add(4)
    (tmp_path / "manageboot.floor").write_text("{")
    found, _ = site.inspect("1.4")
    assert found["release"]["signed_by"]
    assert (found["release"]["refused"]["code"], found["release"]["floor"]) == ("FLOOR_DAMAGED", None)
    assert (tmp_path / "manageboot.floor").read_text() == "{"


def test_a_time_of_building_in_a_year_that_there_is_not_is_shown_as_it_stands(site: Site):
    site.add(built=(1 << 53) - 1)
    report, page = site.inspect("1.4")
    assert report["release"]["built"] == (1 << 53) - 1
    assert "built    9007199254740991 s after 1970" in page


def test_it_can_be_inspected_where_there_is_no_node(site: Site):
    site.add(4)
    found, page = site.inspect("1.4", node=False)
    assert (found["release"]["untrusted"]["code"], found["release"]["taken"]) == ("UNSIGNED", None)
    assert page.endswith("taken    unknown, this is no node\n")


def test_nothing_is_written(site: Site, tmp_path: Path):
    site.add(4)
    before = sorted(tmp_path.rglob("*"))
    site.inspect("1.4")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["release.idx", "full.pack"])
def test_one_that_is_not_whole_is_an_error_as_with_an_archive(site: Site, capfd: pytest.CaptureFixture[str], name: str):
    site.add(4)
    path = site.repository.directory / "1.4" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert main.run(["-c", str(site.config), "inspect", str(path.parent), "--json"]) == 65
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "RELEASE_SHA256"


def test_a_directory_of_releases_is_for_check(site: Site, capfd: pytest.CaptureFixture[str]):
    site.add(4)
    www = site.repository.directory
    assert main.run(["-c", str(site.config), "inspect", str(www)]) == 66
    assert capfd.readouterr().err == (
        f"manageboot: error: cannot inspect {www}: it has no release.json [NO_INPUT]\n"
        "hint: `manageboot check` lists a directory of releases\n"
    )
