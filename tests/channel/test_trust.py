"""Metadata that somebody has tampered with, withheld, renewed with a wrong key or not renewed: never trusted."""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from manageboot import errors
from manageboot.channel import refusals, trust
from manageboot.channel.directory import Directory
from manageboot.channel.kept import Kept
from manageboot.channel.trust import RefusedPlaceError, Trusted
from support.releases import small_release
from support.tufrepository import Repository

FUZZ_EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
"""How many repositories `make fuzz` damages, new ones each time; all other runs damage the same ones."""

TARGET = "1.1/release.json"
RELEASE = small_release({"boot": b"boot", "root": b"root"})


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "www")
    made.add(RELEASE, "1.1")
    made.publish()
    return made


def first_root(repository: Repository) -> bytes:
    return (repository.directory / "metadata/1.root.json").read_bytes()


def ask(repository: Repository, kept: Kept | None = None, *, least_time: int = 0) -> Trusted:
    place = Directory(str(repository.directory))
    return trust.refresh(place, first_root(repository), kept or Kept(), least_time=least_time)


def refused(
    repository: Repository, kind: type[errors.ManagebootError], kept: Kept | None = None, *, least_time: int = 0
) -> RefusedPlaceError:
    with pytest.raises(RefusedPlaceError) as raised:
        ask(repository, kept, least_time=least_time)
    assert type(raised.value.error) is kind, raised.value.error
    return raised.value


def test_what_was_signed_is_trusted_and_says_who_signed(repository: Repository):
    found = ask(repository)
    assert list(found.targets) == [TARGET]
    assert found.kept.signed_by == (repository.keys["targets"][0].public_key.keyid,)
    assert found.kept.expires == repository.expires["root"].isoformat(timespec="seconds")
    assert ask(repository, found.kept) == found
    found.verify(TARGET, RELEASE.description, "it")
    with pytest.raises(errors.ReleaseDigestError):
        found.verify(TARGET, RELEASE.description[:-1] + b" ", "it")


def test_where_nothing_can_be_written_for_a_moment_it_is_said(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """All is full or read-only: Python then finds no directory, or none can be made in it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(errors.CreateError, match=r"^cannot put metadata into a temporary directory: No such file"):
        ask(repository)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "missing")])
    with pytest.raises(errors.CreateError, match=r": No usable temporary directory found in \['.*/missing'\]$"):
        ask(repository)


WITHOUT_CRYPTOGRAPHY = """
import sys
sys.modules["cryptography"] = None
from manageboot.channel import trust
from manageboot.channel.kept import Kept
from manageboot.channel.directory import Directory
root = open(sys.argv[1] + "/metadata/1.root.json", "rb").read()
try:
    print(*trust.refresh(Directory(sys.argv[1]), root, Kept(), least_time=0).targets)
except trust.RefusedPlaceError as refused:
    print(refused.error.code)
"""


def test_signatures_are_verified_without_cryptography(repository: Repository):
    def ask_without() -> str:
        command = [sys.executable, "-c", WITHOUT_CRYPTOGRAPHY, repository.directory]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert ask_without() == TARGET
    repository.keys["timestamp"] = [CryptoSigner.generate_ed25519()]
    repository.publish()
    assert ask_without() == "METADATA_SIGNATURE"


@pytest.mark.parametrize("number", range(4))
def test_a_changed_byte_anywhere_is_refused(repository: Repository, number: int):
    old = repository.keys["root"]
    repository.keys["root"] = [CryptoSigner.generate_ed25519() for _ in range(2)]
    repository.rotate(old)
    path = [repository.root_path, *repository.files()][number]
    content = path.read_bytes()
    for at in range(0, len(content), 1 if FUZZ_EXAMPLES else len(content) // 40):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(RefusedPlaceError):
            ask(repository)


def test_older_metadata_is_refused(repository: Repository):
    before = repository.files()[0].read_bytes()
    repository.publish()
    kept = ask(repository).kept
    repository.write("timestamp.json", before)
    refused(repository, errors.MetadataError, kept)
    # Who never saw the newer one can't know.
    assert TARGET in ask(repository).targets


def test_files_of_two_states_are_refused(repository: Repository):
    _, snapshot, targets = (path.read_bytes() for path in repository.files())
    repository.publish()
    for name, content in (("snapshot", snapshot), ("targets", targets)):
        path = repository.directory / "metadata" / f"2.{name}.json"
        good = path.read_bytes()
        path.write_bytes(content)
        refused(repository, errors.MetadataError)
        path.write_bytes(good)
    assert TARGET in ask(repository).targets


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_a_key_that_the_root_does_not_name_signs_nothing(repository: Repository, role: str):
    repository.keys[role] = [CryptoSigner.generate_ed25519()]
    repository.publish()
    refused(repository, refusals.MetadataSignatureError)


def test_one_of_two_keys_is_not_enough(tmp_path: Path):
    repository = Repository(tmp_path / "www", thresholds={"targets": 2})
    repository.add(RELEASE, "1.1")
    repository.publish()
    assert len(ask(repository).kept.signed_by) == 2
    stolen = repository.keys["targets"]
    repository.keys["targets"] = stolen[:1]
    repository.publish()
    refused(repository, refusals.MetadataSignatureError)
    # The same signature twice is one.
    repository.keys["targets"] = [stolen[0], stolen[0]]
    repository.publish()
    refused(repository, refusals.MetadataSignatureError)


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
def test_what_nobody_has_renewed_is_refused(repository: Repository, role: str):
    repository.expires[role] = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    repository.rotate()
    repository.publish()
    refused(repository, refusals.MetadataExpiredError)


def test_a_clock_that_is_far_ahead_is_told_apart(repository: Repository):
    # Seen from metadata of long ago, the clock of now is far ahead.
    for role in repository.expires:
        repository.expires[role] = datetime(2001, 1, 1, tzinfo=UTC)
    repository.rotate()
    repository.publish()
    refused(repository, refusals.ClockAheadError)


def test_a_clock_that_is_behind_lets_nothing_pass_that_is_known_to_be_over(repository: Repository):
    over = int((repository.expires["timestamp"] + timedelta(days=1)).timestamp())
    refused(repository, refusals.MetadataExpiredError, least_time=over)
    assert TARGET in ask(repository, least_time=over - 2 * 86400).targets


def test_a_root_is_rotated_and_stays_rotated(repository: Repository):
    kept = ask(repository).kept
    old = repository.keys["root"]
    repository.keys = {role: [CryptoSigner.generate_ed25519() for _ in keys] for role, keys in repository.keys.items()}
    repository.rotate(old)
    repository.publish()
    kept = ask(repository, kept).kept
    assert sorted(kept.roots) == [1, 2]
    # A mirror that withholds the new root has nothing that the old keys could sign.
    repository.root_path.unlink()
    repository.keys["timestamp"] = [CryptoSigner.generate_ed25519()]
    repository.publish()
    refused(repository, refusals.MetadataSignatureError, kept)


def test_a_root_that_was_accepted_is_kept_though_the_rest_was_refused(repository: Repository):
    kept = ask(repository).kept
    repository.keys["timestamp"] = [CryptoSigner.generate_ed25519()]
    repository.rotate()
    assert sorted(refused(repository, refusals.MetadataSignatureError, kept).kept.roots) == [1, 2]


@pytest.mark.parametrize("signers", [0, 1])
def test_a_root_that_the_old_keys_did_not_sign_is_refused(repository: Repository, signers: int):
    old = repository.keys["root"]
    repository.keys["root"] = [CryptoSigner.generate_ed25519() for _ in range(2)]
    repository.rotate(old[:signers])
    assert sorted(refused(repository, refusals.MetadataSignatureError).kept.roots) == [1]


def test_an_image_with_another_root_of_trust_begins_anew(repository: Repository, tmp_path: Path):
    kept = ask(repository).kept._replace(built=7)
    other = Repository(tmp_path / "other")
    other.add(RELEASE, "1.1")
    other.publish()
    found = ask(other, kept)
    assert (found.kept.roots, found.kept.built) == ({1: first_root(other)}, 7)


@pytest.mark.parametrize("number", range(3))
def test_data_without_end_is_not_read_to_its_end(repository: Repository, number: int):
    path = repository.files()[number]
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    refused(repository, errors.MetadataError)


@pytest.mark.parametrize("number", range(3))
def test_a_file_that_is_missing_or_a_pipe_holds_nobody_up(repository: Repository, number: int):
    path = repository.files()[number]
    path.unlink()
    refused(repository, errors.InputError)
    os.mkfifo(path)
    refused(repository, errors.InputError)


def test_damage_at_random_is_never_accepted(repository: Repository):
    good = {path: path.read_bytes() for path in repository.files()}
    dice = random.Random(0 if FUZZ_EXAMPLES is None else None)
    for _ in range(int(FUZZ_EXAMPLES or 60)):
        damaged = {path: damage(dice, content) for path, content in good.items()}
        for path, content in damaged.items():
            path.write_bytes(content)
        try:
            found = ask(repository)
        except RefusedPlaceError:
            continue
        # Only what means the same may pass, as other white space in the timestamp.
        assert {path: target.hashes for path, target in found.targets.items()} == {
            TARGET: trust.TargetFile.from_data(TARGET, RELEASE.description).hashes
        }
        assert all(damaged[path] == good[path] for path in repository.files()[1:])


def damage(dice: random.Random, content: bytes) -> bytes:
    if dice.random() < 0.5:
        return content
    changes: list[Callable[[bytearray, int], object]] = [
        lambda data, at: data.__setitem__(at, dice.randrange(256)),
        lambda data, at: data.insert(at, dice.choice(b' 0"{}\n')),
        lambda data, at: data.__delitem__(slice(at, at + dice.randrange(1, 9))),
        lambda data, at: data.__setitem__(slice(at, at), data[at : at + 40]),
    ]
    data = bytearray(content)
    dice.choice(changes)(data, dice.randrange(len(data)))
    return bytes(data)
