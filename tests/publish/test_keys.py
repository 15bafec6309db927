"""Private keys that are no plain files: in a token, in a variable, encrypted; and what asks for their secrets."""

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import HSMSigner

from manageboot import errors
from manageboot.cli import main
from manageboot.publish import keys, secrets
from support.repository import Repository

ROOT = Path(__file__).parents[2]
MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "471147"


def no_secret(name: str) -> str:
    raise AssertionError(f"nobody was to be asked for the secret of {name}")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for the tokens of this process; the library of PKCS#11 reads its configuration once."""
    return tmp_path_factory.mktemp("tokens")


@pytest.fixture
def token(tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a token with a key, and return the URI."""
    (tokens / "softhsm2.conf").write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tokens / "softhsm2.conf"))
    monkeypatch.setenv("PYKCS11LIB", MODULE)
    pem = tmp_path / "token.pem"
    pem.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    if not any(path.is_dir() for path in tokens.iterdir()):
        for words in (
            ["--init-token", "--free", "--label", "release keys", "--so-pin", "0815", "--pin", PIN],
            ["--import", pem, "--token", "release keys", "--label", "targets", "--id", "02", "--pin", PIN],
        ):
            subprocess.run(["softhsm2-util", *words], check=True, capture_output=True)
    return "hsm:2?label=release+keys"


def with_targets(repository: Repository, *public: Path) -> None:
    """Let other keys sign targets, instead of the one that is there."""
    old = str(repository.keys / "targets.pub")
    words = [word for path in public for word in ("--add", f"targets={path}")]
    signed = [word for name in repository.key("root1", "root2") for word in ("--key", name)]
    assert main.run(["release", "root", str(repository.www), *words, "--remove", f"targets={old}", *signed]) == 0


def others(repository: Repository) -> list[str]:
    return [word for name in repository.key("snapshot", "timestamp") for word in ("--key", name)]


def test_a_token_signs_with_a_pin_from_a_file(
    repository: Repository, token: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert main.run(["release", "keys", "--of", token, str(tmp_path / "token")]) == 0
    assert "token.pub is key " in capfd.readouterr().err
    with_targets(repository, tmp_path / "token.pub")
    (tmp_path / "pin").write_text(f"{PIN}\n")
    words = ["release", "sign", str(repository.www), "--key", token, *others(repository)]
    assert main.run([*words, "--secret", str(tmp_path / "pin")]) == 0
    assert main.run(["release", "check", str(repository.www)]) == 0


def test_a_file_and_a_token_sign_a_draft_one_after_the_other(
    repository: Repository, token: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert main.run(["release", "keys", "--of", token, str(tmp_path / "token")]) == 0
    public = ["--add", f"targets={tmp_path / 'token.pub'}", "--threshold", "targets=2"]
    signed = [word for name in repository.key("root1", "root2") for word in ("--key", name)]
    assert main.run(["release", "root", str(repository.www), *public, *signed]) == 0
    (tmp_path / "pin").write_text(f"{PIN}\n")
    draft = ["release", "sign", str(repository.www), "--draft", "--key"]
    assert main.run([*draft, token, "--secret", str(tmp_path / "pin")]) == 0
    assert main.run([*draft, *repository.key("targets")]) == 0
    assert "is a draft that enough keys have signed" in capfd.readouterr().err
    assert main.run(["release", "sign", str(repository.www), *others(repository)]) == 0
    assert main.run(["release", "check", str(repository.www)]) == 0
    assert "targets    version 2, " in capfd.readouterr().out


def test_a_wrong_pin_is_tried_once(
    repository: Repository,
    token: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    """There are three keys that it could be; a real token would be locked after as many."""
    made = []
    for name in ("one", "two", "three"):
        key = ec.generate_private_key(ec.SECP256R1())
        monkeypatch.setenv(name, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
        keys.export(f"envvar:{name}", str(tmp_path / name), no_secret)
        made.append(tmp_path / f"{name}.pub")
    with_targets(repository, *made)
    (tmp_path / "pin").write_text("000000\n")
    tried, real = [], HSMSigner.sign

    def sign(self: HSMSigner, payload: bytes) -> object:
        tried.append(payload)
        return real(self, payload)

    monkeypatch.setattr(HSMSigner, "sign", sign)
    capfd.readouterr()
    words = ["release", "sign", str(repository.www), "--key", token, *others(repository)]
    assert main.run([*words, "--secret", str(tmp_path / "pin")]) == 65
    assert capfd.readouterr().err.startswith(f"manageboot: error: cannot sign with {token}: ")
    assert len(tried) == 1


def test_a_token_that_is_not_there_says_so(token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(errors.MetadataError, match=r"^cannot read the public key of hsm:2\?label=lost: .*lost"):
        keys.export("hsm:2?label=lost", str(tmp_path / "lost"), no_secret)
    # The library is loaded once, so a process of its own finds none.
    monkeypatch.delenv("PYKCS11LIB")
    words = ["release", "keys", "--of", token, tmp_path / "lost"]
    done = subprocess.run([sys.executable, "-m", "manageboot", *words], check=False, capture_output=True, text=True)
    assert (done.returncode, "PYKCS11LIB" in done.stderr) == (65, True), done.stderr
    assert not (tmp_path / "lost.pub").exists()


def test_a_key_in_a_variable_signs(repository: Repository, monkeypatch: pytest.MonkeyPatch):
    content = (repository.keys / "targets").read_text()
    monkeypatch.setenv("TARGETS_KEY", content)
    words = ["release", "sign", str(repository.www), "--key", "envvar:TARGETS_KEY", *others(repository)]
    assert main.run(words) == 0
    monkeypatch.delenv("TARGETS_KEY")
    assert main.run(words) == 66


def test_the_public_key_of_a_variable_is_that_of_the_file(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TARGETS_KEY", (repository.keys / "targets").read_text())
    keys.export("envvar:TARGETS_KEY", str(tmp_path / "again"), no_secret)
    assert keys.read_public(str(tmp_path / "again.pub")) == keys.read_public(str(repository.keys / "targets.pub"))
    with pytest.raises(errors.CreateError, match="File exists"):
        keys.export("envvar:TARGETS_KEY", str(tmp_path / "again"), no_secret)
    with pytest.raises(errors.UsageError, match="neither hsm: nor envvar:"):
        keys.export("gnupg:1234", str(tmp_path / "other"), no_secret)


def test_an_encrypted_file_asks_for_its_passphrase_once(repository: Repository):
    path = repository.keys / "targets"
    private = load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")))
    public = {
        key.keyid: key for key in (keys.read_public(f"{repository.keys / name}.pub") for name in ("root1", "targets"))
    }
    asked = []

    def secret(name: str) -> str:
        asked.append(name)
        return "open sesame"

    [signer] = keys.signers([str(path)], public, secret)
    assert asked == [str(path)]
    assert signer.public_key == keys.read_public(f"{path}.pub")
    with pytest.raises(errors.MetadataError, match=r"^cannot sign with .*targets: .*password"):
        keys.signers([str(path)], public, lambda _: "close sesame")


def test_without_a_terminal_nobody_is_asked():
    # A session of its own has no terminal.
    code = "from manageboot.publish import secrets; secrets.ask('k')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True, check=False
    )
    assert b"cannot sign with k: it needs a PIN or a passphrase, and nobody can be asked\n" in done.stderr


@pytest.mark.parametrize(("content", "secret"), [(b"1234\n", "1234"), (b"1234", "1234"), (b"a b\nc\n", "a b")])
def test_a_secret_is_the_first_line_of_a_file(tmp_path: Path, content: bytes, secret: str):
    (tmp_path / "secret").write_bytes(content)
    assert secrets.asker(str(tmp_path / "secret"))("k") == secret


@pytest.mark.parametrize("content", [None, b"\xff\n", bytes(5000)])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(errors.InputError, match=r"^cannot read .*secret: "):
        secrets.asker(str(tmp_path / "secret"))("k")
