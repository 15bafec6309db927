"""Keys, roots and signatures: what nodes see changes as a whole, and only with the keys that have to sign."""

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from manageboot import errors
from manageboot.cli import main
from manageboot.publish import check, keys, metadata
from manageboot.system import files
from support.repository import OTHERS, Repository


def checked(repository: Repository) -> dict[str, Any]:
    return check.check(str(repository.www), None, "none")


def versions(repository: Repository) -> list[str]:
    return [release["version"] for release in checked(repository)["releases"]]


def test_a_node_finds_what_was_signed(repository: Repository):
    result = checked(repository)
    assert {role: found["version"] for role, found in result["metadata"].items()} == {
        "root": 1,
        "targets": 1,
        "snapshot": 1,
        "timestamp": 1,
    }
    assert result["metadata"]["root"]["threshold"] == 2
    assert [(one["version"], one["index"]) for one in result["releases"]] == [("1.0", 1)]
    shown = check.render(result)
    assert "release    1.0, index 1: " in shown
    targets = json.loads(repository.metadata()["1.targets.json"])["signed"]["targets"]
    assert targets["1.0/release.json"]["custom"] == {"index": 1}


def test_a_private_key_is_its_owners_alone_and_never_replaced(tmp_path: Path):
    old = os.umask(0)
    try:
        keys.generate(str(tmp_path / "key"))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(errors.CreateError, match=r"^cannot make .*/key: File exists"):
        keys.generate(str(tmp_path / "key"))
    assert (tmp_path / "key").read_bytes() == before
    (tmp_path / "key").rename(tmp_path / "gone")
    with pytest.raises(errors.CreateError, match=r"^cannot make .*/key\.pub: File exists"):
        keys.generate(str(tmp_path / "key"))
    assert not (tmp_path / "key").exists()
    (tmp_path / "gone").rename(tmp_path / "key")
    public = load_pem_private_key(before, None).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert (tmp_path / "key.pub").read_bytes() == pem


def test_a_public_key_may_be_json(tmp_path: Path):
    keys.generate(str(tmp_path / "key"))
    key = keys.read_public(str(tmp_path / "key.pub"))
    (tmp_path / "key.json").write_text(json.dumps({"keyid": key.keyid, **key.to_dict()}))
    assert keys.read_public(str(tmp_path / "key.json")) == key


@pytest.mark.parametrize("content", [b"", b"{}", b'{"keyid": 1}', b"{", b"-----BEGIN PUBLIC KEY-----\nxx\n", b"[1]"])
def test_what_is_no_public_key_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "key.pub").write_bytes(content)
    with pytest.raises(errors.MetadataError, match=r"^cannot use .*key.pub: it is not a public key$"):
        keys.read_public(str(tmp_path / "key.pub"))


def test_a_root_needs_its_threshold_and_is_signed_one_by_one(tmp_path: Path):
    repository = Repository(tmp_path)
    for folder in (repository.www, repository.keys):
        folder.mkdir()
    for name in ("root1", "root2", "root3", *OTHERS):
        keys.generate(str(repository.keys / name))
    roots = [("root", f"root{number}") for number in (1, 2, 3)]
    with pytest.raises(errors.MetadataError, match="targets has 0 keys, and 1 have to sign"):
        repository.change_root("root1", add=roots)
    assert repository.metadata() == {}
    said = repository.change_root(add=roots + [(role, role) for role in OTHERS])
    assert said.startswith("root 1 is a draft: 2 of the keys ")
    assert repository.change_root("root3").startswith("root 1 is a draft: 1 of the keys ")
    # The same key once more does not count twice.
    assert repository.change_root("root3").startswith("root 1 is a draft: 1 of the keys ")
    assert list(repository.metadata()) == ["1.root.draft.json"]
    with pytest.raises(errors.MetadataError, match=r"it has no root$"):
        repository.sign()
    assert repository.change_root("root1").startswith("root 1 is published, until ")
    assert list(repository.metadata()) == ["1.root.json"]


def test_a_new_root_needs_the_old_keys_and_the_new_ones(repository: Repository):
    for name in ("new1", "new2", "new3"):
        keys.generate(str(repository.keys / name))
    # All root keys are exchanged.
    old = [f"{repository.keys / f'root{number}'}.pub" for number in (1, 2, 3)]
    new = [("root", f"new{number}") for number in (1, 2, 3)]
    assert "is a draft" in repository.change_root("new1", "new2", add=new, remove=[("root", path) for path in old])
    assert "is a draft" in repository.change_root("root1")
    assert versions(repository) == ["1.0"]
    assert checked(repository)["metadata"]["root"]["version"] == 1
    assert "root 2 is published" in repository.change_root("root2")
    assert checked(repository)["metadata"]["root"]["version"] == 2
    # From then on the old ones count for nothing.
    with pytest.raises(errors.MetadataError, match="it is none of the keys"):
        repository.change_root("root1", days=10)
    assert "root 3 is published" in repository.change_root("new2", "new3", days=10)
    assert versions(repository) == ["1.0"]


def test_a_change_of_the_draft_takes_its_signatures_away(repository: Repository):
    assert "1 of the keys" in repository.change_root("root1", days=100)
    assert "1 of the keys" in repository.change_root("root2", days=200)


def test_a_stolen_key_is_replaced_and_the_rest_signed_again(repository: Repository):
    keys.generate(str(repository.keys / "other"))
    keyid = keys.read_public(f"{repository.keys / 'targets'}.pub").keyid
    said = repository.change_root("root1", "root2", add=[("targets", "other")], remove=[("targets", keyid[:10])])
    assert said.endswith("; nodes refuse targets until the new keys sign again")
    with pytest.raises(errors.MetadataError, match="cannot trust"):
        checked(repository)
    with pytest.raises(errors.SignaturesMissingError, match="cannot sign targets: 0 of 1 keys were given"):
        repository.sign(by=("snapshot", "timestamp"))
    with pytest.raises(errors.MetadataError, match="it is none of the keys"):
        repository.sign()
    assert repository.sign(by=("other", "snapshot", "timestamp")).startswith("targets 2, snapshot 2, timestamp 2;")
    assert versions(repository) == ["1.0"]


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (("timestamp",), "timestamp 2; to be renewed before "),
        (("snapshot", "timestamp"), "snapshot 2, timestamp 2; to be"),
        (OTHERS, "targets 2, snapshot 2, timestamp 2; to be"),
    ],
)
def test_without_a_release_is_renewed_what_the_keys_can(repository: Repository, by: tuple[str, ...], said: str):
    assert repository.sign(by=by).startswith(said)
    assert versions(repository) == ["1.0"]


@pytest.mark.parametrize("missing", OTHERS)
def test_a_release_needs_all_keys_and_nothing_is_written_without(repository: Repository, missing: str):
    repository.build("2.0", 2)
    before = repository.metadata()
    with pytest.raises(errors.SignaturesMissingError, match=f"cannot sign {missing}: 0 of 1 keys were given"):
        repository.sign("2.0", by=tuple(role for role in OTHERS if role != missing))
    assert repository.metadata() == before


def test_thresholds_of_other_roles_hold(repository: Repository):
    keys.generate(str(repository.keys / "targets2"))
    repository.change_root("root1", "root3", add=[("targets", "targets2")], thresholds=[("targets", 2)])
    with pytest.raises(errors.SignaturesMissingError, match="cannot sign targets: 1 of 2 keys were given"):
        repository.sign()
    repository.sign(by=("targets2", *OTHERS))
    assert versions(repository) == ["1.0"]


def test_releases_are_added_and_withdrawn(repository: Repository):
    repository.build("2.0", 5)
    assert repository.sign("2.0").startswith("release 2.0 is signed, targets 2, snapshot 2, timestamp 2;")
    assert versions(repository) == ["1.0", "2.0"]
    assert repository.sign(remove=["1.0"]).startswith("release 1.0 is withdrawn, targets 3")
    assert versions(repository) == ["2.0"]
    with pytest.raises(errors.InputError, match=r"^cannot withdraw release 1\.0: it is not signed$"):
        repository.sign(remove=["1.0"])


def test_an_index_that_is_not_higher_is_refused(repository: Repository):
    repository.build("2.0", 1)
    with pytest.raises(errors.ReleaseFormatError, match=r"2\.0: its index is 1, and that of 1\.0 is 1$"):
        repository.sign("2.0")


@pytest.mark.parametrize("name", ["release.idx", "full.pack", "update-img.tar.zst"])
def test_a_release_that_is_not_whole_is_not_signed(repository: Repository, name: str):
    repository.build("2.0", 2)
    path = repository.www / "2.0" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    before = repository.metadata()
    with pytest.raises(errors.DataError):
        repository.sign("2.0")
    assert repository.metadata() == before


def test_a_release_in_the_directory_of_another_version_is_not_signed(repository: Repository):
    (repository.www / "1.0").rename(repository.www / "1.1")
    with pytest.raises(errors.ReleaseFormatError, match=r"it is of version 1\.0, not 1\.1$"):
        repository.sign("1.1")


def test_two_at_once_do_not_mix(repository: Repository):
    with metadata.locked(str(repository.www)), pytest.raises(errors.LockedError, match="another run is at work"):
        repository.sign()


def test_everybody_may_read_what_is_published(tmp_path: Path):
    old = os.umask(0o077)
    try:
        Repository(tmp_path).make()
    finally:
        os.umask(old)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "www").rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "www").rglob("*") if path.is_dir()}
    assert (modes, folders) == ({0o644}, {0o755})


class PowerCutError(Exception):
    """The power goes."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(3))
def test_a_cut_at_each_write_leaves_what_nodes_trust(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, number: int, when: str
):
    repository.build("2.0", 2)
    real, count = files.replace, iter(range(10))

    def replace(path: str, content: bytes, *, durable: bool = False) -> None:
        assert durable
        cut = next(count) == number
        if cut and when == "before":
            raise PowerCutError
        real(path, content, durable=durable)
        if cut:
            raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", replace)
        with pytest.raises(PowerCutError):
            repository.sign("2.0")
    after = repository.metadata()
    whole = (number, when) == (2, "after")
    assert versions(repository) == (["1.0", "2.0"] if whole else ["1.0"])
    # The next run does not write other content under a name that somebody may have fetched.
    repository.sign("2.0")
    assert versions(repository) == ["1.0", "2.0"]
    assert {name: repository.metadata()[name] for name in after if name != "timestamp.json"} == {
        name: content for name, content in after.items() if name != "timestamp.json"
    }


def test_no_change_of_a_byte_changes_what_is_trusted(repository: Repository):
    """Each byte in one way; of white space, another one says the same, and no signature is over it."""
    state = metadata.load(str(repository.www))
    folder = repository.www / "metadata"
    for name, content in repository.metadata().items():
        for at in range(0, len(content), 7):
            changed = bytearray(content)
            changed[at] ^= 1 << at % 8
            (folder / name).write_bytes(changed)
            try:
                loaded = metadata.load(str(repository.www))
            except errors.MetadataError:
                continue
            assert loaded.root == state.root, (name, at)
            assert {role: one.signed for role, one in loaded.roles.items()} == {
                role: one.signed for role, one in state.roles.items()
            }, (name, at)
        (folder / name).write_bytes(content)


def test_expired_metadata_is_found_and_renewed(repository: Repository, monkeypatch: pytest.MonkeyPatch):
    real = metadata.expiry
    with monkeypatch.context() as patch:
        patch.setattr(metadata, "expiry", lambda days, now: real(-days, now))
        repository.sign(by=("timestamp",))
    with pytest.raises(errors.MetadataError, match="expired"):
        checked(repository)
    repository.sign(by=("timestamp",))
    assert versions(repository) == ["1.0"]


def test_an_expired_root_signs_nothing(repository: Repository, monkeypatch: pytest.MonkeyPatch):
    real = metadata.expiry
    with monkeypatch.context() as patch:
        patch.setattr(metadata, "expiry", lambda days, now: real(-days, now))
        repository.change_root("root1", "root2", days=3)
    with pytest.raises(errors.MetadataError, match="its root has expired on "):
        repository.sign()
    repository.change_root("root1", "root2", days=3)
    repository.sign()
    assert versions(repository) == ["1.0"]


def test_a_node_that_trusts_another_root_refuses(repository: Repository, tmp_path: Path):
    other = Repository(tmp_path / "other")
    other.make()
    with pytest.raises(errors.MetadataError, match="cannot trust"):
        checked_with = str(other.www / "metadata" / "1.root.json")
        # Its own first root has been replaced by one that others signed.
        repository.change_root("root1", "root2", days=3)
        check.check(str(repository.www), checked_with, "none")


def test_a_release_alone_is_checked_without_signatures(repository: Repository):
    result = check.check(str(repository.www / "1.0"), None, "none")
    assert (result["metadata"], result["releases"][0]["version"]) == (None, "1.0")


@pytest.mark.parametrize("name", ["release.json", "release.idx"])
def test_a_change_of_a_byte_of_what_was_signed_is_found(repository: Repository, name: str):
    path = repository.www / "1.0" / name
    content = path.read_bytes()
    for at in range(0, len(content), 41):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        with pytest.raises(errors.ReleaseDigestError):
            checked(repository)


def test_the_command_line_does_it_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, status: int = 0) -> tuple[str, str]:
        assert main.run(["release", *arguments]) == status
        return capfd.readouterr()

    (tmp_path / "www").mkdir()
    (tmp_path / "boot.img").write_bytes(b"\x12boot" * 100)
    (tmp_path / "root.img").write_bytes(b"\x13root" * 100)
    assert run("keys", "r1", "r2", "online")[1].count(" are key ") == 3
    roles = [word for role in OTHERS for word in ("--add", f"{role}=online.pub")]
    run("root", "www", "--add", "root=r1.pub", "--add", "root=r2.pub", *roles, "--key", "r1", "--key", "r2")
    run("build", "boot.img", "root.img", "--output", "www", "--index", "1", "--version", "1.0", "--level", "1")
    run("sign", "www", "1.0/", "--key", "online", "--expires", "timestamp=3")
    result = json.loads(run("check", "www", "--json")[0])
    assert [release["version"] for release in result["releases"]] == ["1.0"]
    assert run("check", "www")[0].count("\n") == 5
    assert "cannot open x" in run("root", "www", "--key", "x", "--expires", "3", status=66)[1]
    for words in (["--add", "rot=r1.pub"], ["--add", "root"], ["--threshold", "root=0"], ["--threshold", "root=x"], []):
        assert run("root", "www", *words, status=2)[1].startswith("manageboot: error: cannot ")
    assert "[USAGE]" in run("sign", "www", "--key", "online", "--expires", "root=3", status=2)[1]
    assert "[USAGE]" in run("sign", "www", "../www/1.0", "--key", "online", status=2)[1]
    assert main.run(["--disk", "x", "release", "check", "www"]) == 2
    assert "release has no use for --disk [USAGE]" in capfd.readouterr().err
    assert "[METADATA]" in run("sign", "www", "--key", "r1", status=65)[1]


@pytest.mark.parametrize("action", ["sign", "keys"])
def test_what_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], action: str
):
    for name in ("tuf.api.metadata", "cryptography.hazmat.primitives.asymmetric.ed25519"):
        monkeypatch.setitem(sys.modules, name, None)
    Repository(tmp_path).www.joinpath("metadata").mkdir(parents=True)
    (tmp_path / "www" / "metadata" / "1.root.json").write_text("{}")
    words = {"sign": ["--key", "k"], "keys": []}[action]
    assert main.run(["release", action, str(tmp_path / "www"), *words]) == 66
    shown = capfd.readouterr().err
    assert " is not installed [NO_INPUT]\nhint: pip install 'manageboot[build]'\n" in shown
