"""Rollouts as they are signed: given, changed, stopped without reading the release, and lifted."""

import json
from typing import Any

import pytest

from manageboot import errors
from manageboot.cli import main
from manageboot.publish import check
from manageboot.release.rollout import Rollout
from support.repository import OTHERS, Repository


def checked(repository: Repository) -> dict[str, Any]:
    return check.check(str(repository.www), None, "none")


def custom(repository: Repository, number: int) -> dict[str, Any]:
    targets = json.loads(repository.metadata()[f"{number}.targets.json"])["signed"]["targets"]
    return targets["1.0/release.json"]["custom"]


def test_a_rollout_is_signed_and_changed_and_lifted(repository: Repository, capfd: pytest.CaptureFixture[str]):
    keys = [word for key in repository.key(*OTHERS) for word in ("--key", key)]
    sign = ["release", "sign", str(repository.www), "1.0", *keys, "--progress", "none"]
    times = ["--rollout-from", "2027-01-15T08:00Z", "--rollout-until", "2027-01-17T09:00+01:00"]
    assert main.run([*sign, "--rollout", "2.5", *times]) == 0
    said = "for 2.5 % of the nodes from 2027-01-15T08:00:00Z on, growing until 2027-01-17T08:00:00Z"
    assert f"release 1.0 is signed {said}, targets 2" in capfd.readouterr().err
    values = {"basis_points": 250, "from": "2027-01-15T08:00:00Z", "until": "2027-01-17T08:00:00Z"}
    assert custom(repository, 2) == {"index": 1, "rollout": values}
    assert check.render(checked(repository)).endswith(said)
    # To renew what is signed changes nothing of it.
    repository.sign()
    assert custom(repository, 3)["rollout"] == values
    # To stop it reads none of the release but its release.json.
    pack = repository.www / "1.0" / "full.pack"
    pack.rename(repository.www / "elsewhere")
    assert main.run([*sign, "--rollout", "0"]) == 0
    assert custom(repository, 4) == {"index": 1, "rollout": {"basis_points": 0}}
    (repository.www / "elsewhere").rename(pack)
    repository.sign("1.0")
    assert custom(repository, 5) == {"index": 1}


def test_a_release_that_is_another_one_by_now_is_read_whatever_its_rollout(repository: Repository):
    path = repository.www / "1.0" / "release.json"
    path.write_bytes(path.read_bytes() + b" ")
    (repository.www / "1.0" / "full.pack").unlink()
    with pytest.raises(errors.InputError, match=r"full\.pack"):
        repository.sign("1.0", rollout=Rollout(100))


@pytest.mark.parametrize(
    "words",
    [
        ["--rollout", "101"], ["--rollout", "1.234"], ["--rollout", "ten"], ["--rollout-from", "2027-01-15T08:00Z"],
        ["--rollout", "1", "--rollout-from", "2027-01-15"], ["--rollout", "1", "--rollout-until", "2027-01-15T08:00Z"],
    ],
)  # fmt: skip
def test_a_rollout_that_makes_no_sense_is_refused(repository: Repository, words: list[str]):
    before = repository.metadata()
    sign = ["release", "sign", str(repository.www), "1.0", "--key", *repository.key("targets")]
    assert main.run([*sign, *words]) == 2
    assert (
        main.run(["release", "sign", str(repository.www), "--rollout", "1", "--key", *repository.key("targets")]) == 2
    )
    assert repository.metadata() == before


def test_a_rollout_that_no_node_would_read_is_found(repository: Repository, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Rollout, "to_json", lambda _: {"basis_points": 1, "regions": 2})
    repository.sign("1.0", rollout=Rollout(100))
    with pytest.raises(errors.MetadataError, match="rollout can't be read"):
        checked(repository)
