"""A key that GnuPG has, be it in a file, or on a card that its agent knows."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from securesystemslib.signer import GPGSigner

from manageboot.cli import main
from support.repository import Repository


@pytest.fixture
def home() -> Iterator[str]:
    """A home of GnuPG with a key; its path is short, since its agent has a socket there."""
    with tempfile.TemporaryDirectory(prefix="gpg.") as directory:
        gpg = ["gpg", "--homedir", directory, "--batch", "--quiet", "--passphrase", ""]
        try:
            subprocess.run([*gpg, "--quick-generate-key", "targets", "ed25519", "sign", "never"], check=True)
            yield directory
        finally:
            subprocess.run(["gpgconf", "--homedir", directory, "--kill", "all"], check=True)


def test_a_key_of_gnupg_signs(repository: Repository, home: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    listed = subprocess.check_output(["gpg", "--homedir", home, "--list-keys", "--with-colons"], text=True)
    fingerprint = next(line.split(":")[9].lower() for line in listed.splitlines() if line.startswith("fpr:"))
    uri, key = GPGSigner.import_(fingerprint, home)
    (tmp_path / "gpg.json").write_text(json.dumps({"keyid": key.keyid, **key.to_dict()}))
    signed = [word for name in repository.key("root1", "root2") for word in ("--key", name)]
    changes = ["--add", f"targets={tmp_path / 'gpg.json'}", "--threshold", "targets=2"]
    assert main.run(["release", "root", str(repository.www), *changes, *signed]) == 0
    draft = ["release", "sign", str(repository.www), "--draft"]
    assert main.run([*draft, "--key", uri, "--key", *repository.key("targets")]) == 0
    assert "enough keys have signed" in capfd.readouterr().err
    others = [word for name in repository.key("snapshot", "timestamp") for word in ("--key", name)]
    assert main.run(["release", "sign", str(repository.www), *others]) == 0
    assert main.run(["release", "check", str(repository.www)]) == 0
