"""Targets that several people sign, one after the other, on machines with nothing but the metadata and their key."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manageboot import errors
from manageboot.cli import main
from manageboot.publish import check, keys
from manageboot.system import files
from support.repository import Repository

BOTH = ("snapshot", "timestamp")


@pytest.fixture
def shared(repository: Repository) -> Repository:
    """A repository in which two of three people have to sign targets, and release 2.0 waits for them."""
    for name in ("anna", "bert", "carl"):
        keys.generate(str(repository.keys / name))
    old = str(repository.keys / "targets.pub")
    people = [("targets", name) for name in ("anna", "bert", "carl")]
    repository.change_root("root1", "root2", add=people, remove=[("targets", old)], thresholds=[("targets", 2)])
    repository.sign(by=("anna", "bert", *BOTH))
    repository.build("2.0", 2)
    return repository


def draft(repository: Repository, *versions: str, by: tuple[str, ...] = (), **order: object) -> list[str]:
    return repository.sign(*versions, by=by, draft=True, **order).splitlines()


def versions(repository: Repository) -> list[str]:
    return [release["version"] for release in check.check(str(repository.www), None, "none")["releases"]]


def test_each_signs_on_a_machine_of_their_own(shared: Repository, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    def at(person: str, *words: str) -> list[str]:
        """Carry the metadata to a machine, run something there, and carry it back."""
        machine = tmp_path / person
        shutil.copytree(shared.www / "metadata", machine / "metadata")
        assert main.run(["release", "sign", str(machine), *words, "--key", *shared.key(person)]) == 0
        shutil.rmtree(shared.www / "metadata")
        shutil.move(machine / "metadata", shared.www / "metadata")
        return [line.removeprefix("manageboot: ") for line in capfd.readouterr().err.splitlines()]

    assert main.run(["release", "sign", str(shared.www), "2.0", "--draft"]) == 0
    said = capfd.readouterr().err
    assert said.startswith("manageboot: targets 3 is a draft: 2 of the keys ")
    sha256 = hashlib.sha256((shared.www / "2.0/release.json").read_bytes()).hexdigest()
    adds = f"it adds release 2.0, index 2; its release.json is {sha256}"
    # Each is told what they sign.
    first = at("carl", "--draft")
    assert first[0].startswith("targets 3 is a draft: 1 of the keys ")
    assert first[1] == adds
    assert first[2].startswith("it lasts until ")
    assert versions(shared) == ["1.0"]
    assert at("anna", "--draft")[0] == (
        "targets 3 is a draft that enough keys have signed; those of snapshot and timestamp publish it"
    )
    assert versions(shared) == ["1.0"]
    words = [word for name in shared.key(*BOTH) for word in ("--key", name)]
    assert main.run(["release", "sign", str(shared.www), *words]) == 0
    assert "release 2.0 is signed, targets 3, snapshot 3, timestamp 3; to be renewed" in capfd.readouterr().err
    assert versions(shared) == ["1.0", "2.0"]
    assert not [name for name in shared.metadata() if "draft" in name]


def test_a_draft_needs_different_keys_of_targets(shared: Repository):
    draft(shared, "2.0")
    assert "draft: 1 of the keys" in draft(shared, by=("bert",))[0]
    assert "draft: 1 of the keys" in draft(shared, by=("bert",))[0]
    with pytest.raises(errors.MetadataError, match="it is none of the keys"):
        draft(shared, by=("snapshot",))
    # What is not complete holds up nothing, and is not published.
    assert shared.sign(by=BOTH).startswith("snapshot 3, timestamp 3; ")
    assert versions(shared) == ["1.0"]
    # Without snapshot's key it can't be.
    assert "enough keys have signed" in draft(shared, by=("carl",))[0]
    assert shared.sign(by=("timestamp",)).startswith("timestamp 4; ")
    assert versions(shared) == ["1.0"]


def test_a_change_of_the_draft_takes_its_signatures_away(shared: Repository):
    draft(shared, "2.0", by=("anna",))
    shared.build("3.0", 3)
    said = draft(shared, "3.0", remove=["1.0"])
    assert "draft: 2 of the keys" in said[0]
    assert [line.split(";")[0] for line in said[1:3]] == [
        "it adds release 2.0, index 2",
        "it adds release 3.0, index 3",
    ]
    assert said[3] == "it withdraws release 1.0"
    draft(shared, by=("anna", "bert"))
    assert shared.sign(by=BOTH).startswith("release 2.0 is signed, release 3.0 is signed, release 1.0 is withdrawn, ")
    assert versions(shared) == ["2.0", "3.0"]


def test_nothing_else_is_published_while_a_draft_waits(shared: Repository):
    draft(shared, "2.0", by=("anna",))
    before = shared.metadata()
    for order in ({"versions": ["2.0"]}, {"versions": []}):
        with pytest.raises(errors.MetadataError, match="cannot sign targets: targets 3 is a draft: 1 of") as raised:
            shared.sign(*order["versions"], by=("anna", "bert", *BOTH))
        assert "metadata/3.targets.draft.json" in str(raised.value.hint)
    assert shared.metadata() == before


def test_a_draft_renews_what_expires(shared: Repository):
    said = draft(shared, days={"targets": 400}, by=("anna", "bert"))
    assert len(said) == 2
    assert said[1].startswith("it lasts until ")
    assert shared.sign(by=BOTH).startswith("targets 3, snapshot 3, timestamp 3; ")
    assert versions(shared) == ["1.0"]


def test_the_first_targets_of_all_may_be_a_draft(shared: Repository):
    for name in shared.metadata():
        if "root" not in name:
            (shared.www / "metadata" / name).unlink()
    draft(shared, "2.0", by=("anna",))
    with pytest.raises(errors.MetadataError, match="targets 1 is a draft: 1 of"):
        shared.sign(by=BOTH)
    draft(shared, by=("carl",))
    shared.sign(by=BOTH)
    assert versions(shared) == ["2.0"]


def test_what_was_published_meanwhile_makes_a_draft_void(shared: Repository):
    draft(shared, "2.0", by=("anna", "bert"))
    name = "3.targets.draft.json"
    old = shared.metadata()[name]
    shared.sign(by=BOTH)
    # Somebody carries it back once more.
    (shared.www / "metadata" / name).write_bytes(old)
    assert shared.sign(by=BOTH).startswith("snapshot 4, timestamp 4;")
    assert draft(shared)[0].startswith("targets 4 is a draft: 2 of the keys")


class PowerCutError(Exception):
    """The power goes."""


@pytest.mark.parametrize("number", range(3))
def test_a_cut_while_it_is_published_costs_no_signature(
    shared: Repository, monkeypatch: pytest.MonkeyPatch, number: int
):
    draft(shared, "2.0", by=("anna", "bert"))
    real, count = files.replace, iter(range(10))

    def replace(path: str, content: bytes, *, durable: bool = False) -> None:
        real(path, content, durable=durable)
        if next(count) == number:
            raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", replace)
        with pytest.raises(PowerCutError):
            shared.sign(by=BOTH)
    assert versions(shared) == (["1.0", "2.0"] if number == 2 else ["1.0"])
    shared.sign(by=BOTH)
    assert versions(shared) == ["1.0", "2.0"]


def other_path(signed: dict[str, Any]) -> None:
    signed["targets"]["etc/passwd"] = signed["targets"].pop("2.0/release.json")


def more_about_it(signed: dict[str, Any]) -> None:
    signed["targets"]["2.0/release.json"]["custom"]["run"] = "rm"


def another_digest(signed: dict[str, Any]) -> None:
    signed["targets"]["2.0/release.json"]["hashes"]["sha512"] = "0" * 128


def no_index(signed: dict[str, Any]) -> None:
    del signed["targets"]["2.0/release.json"]["custom"]


def delegation(signed: dict[str, Any]) -> None:
    role = {"name": "x", "keyids": [], "threshold": 1, "terminating": False, "paths": ["*"]}
    signed["delegations"] = {"keys": {}, "roles": [role]}


def another_field(signed: dict[str, Any]) -> None:
    signed["more"] = 1


def another_version(signed: dict[str, Any]) -> None:
    signed["version"] = 9


@pytest.mark.parametrize(
    "change",
    [other_path, more_about_it, another_digest, no_index, delegation, another_field, another_version],
)
def test_what_nobody_is_shown_nobody_signs(shared: Repository, change: Callable[[dict[str, Any]], None]):
    draft(shared, "2.0", by=("anna",))
    path = shared.www / "metadata/3.targets.draft.json"
    content = json.loads(path.read_text())
    change(content["signed"])
    path.write_text(json.dumps(content))
    with pytest.raises(errors.MetadataError, match=r"^cannot read 3\.targets\.draft\.json: it "):
        draft(shared, by=("bert",))


def test_a_signature_of_something_else_counts_for_nothing(shared: Repository):
    draft(shared, "2.0", by=("anna", "bert"))
    path = shared.www / "metadata/3.targets.draft.json"
    content = json.loads(path.read_text())
    content["signed"]["targets"]["2.0/release.json"]["hashes"]["sha256"] = "0" * 64
    path.write_text(json.dumps(content))
    assert shared.sign(by=BOTH).startswith("snapshot 3, timestamp 3; ")
    said = draft(shared, by=("carl",))
    assert "draft: 1 of the keys" in said[0]
    assert said[1].endswith("0" * 64)


def test_a_draft_that_has_expired_is_not_published(shared: Repository):
    draft(shared, "2.0", days={"targets": -1}, by=("anna", "bert"))
    assert shared.sign(by=BOTH).startswith("snapshot 3, timestamp 3; ")
    assert "targets 3 is a draft that has expired on " in draft(shared)[0]


def test_without_a_key_there_is_only_a_draft(shared: Repository, capfd: pytest.CaptureFixture[str]):
    assert main.run(["release", "sign", str(shared.www), "2.0"]) == 2
    assert "cannot run: sign needs --key; only a draft can wait for it [USAGE]" in capfd.readouterr().err
