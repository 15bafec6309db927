"""Keys: made as files, and found again when something has to be signed."""

import errno
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from manageboot import errors
from manageboot.publish.secrets import Secret
from manageboot.system import files

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from securesystemslib.signer import Key, Signer

KEY_BYTES_MAX = 64 << 10
SHOWN_DIGITS = 12
"""Of the id of a key, in messages."""

_PROBE = b"manageboot: is it this key?"


def generate(path: str) -> str:
    """Make a pair of Ed25519 keys: the private one, which its owner alone may read, and the public one as PATH.pub.

    Returns:
        What was made, as a sentence.

    Raises:
        CreateError, NotPermittedError, DeviceError: a file can't be made, or is there already.

    Durability: both are on the disk once it returns.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
    from securesystemslib.signer import SSlibKey

    for name in (path, f"{path}.pub"):
        if os.path.lexists(name):
            raise errors.CreateError(f"cannot make {name}: {os.strerror(errno.EEXIST)}")
    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    _create(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _create(f"{path}.pub", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    keyid = SSlibKey.from_crypto(public).keyid
    return f"{path} and {path}.pub are key {keyid[:SHOWN_DIGITS]}; nobody else is to have the first of them"


def read_public(path: str) -> "Key":
    """Read a public key: PEM, or JSON as securesystemslib has it, with its `keyid`.

    Raises:
        InputError, NotPermittedError, DeviceError: it can't be read.
        MetadataError: it is not a public key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import Key, SSlibKey

    content = _read(path)
    try:
        if content.startswith(b"{"):
            fields = files.parse(content)
            return Key.from_dict(fields.pop("keyid"), fields)
        return SSlibKey.from_crypto(load_pem_public_key(content))
    except (ValueError, KeyError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
        raise errors.MetadataError(f"cannot use {path}: it is not a public key") from error


def export(uri: str, path: str, secret: Secret) -> str:
    """Write the public key of a private one that is no file: `hsm:` or `envvar:`.

    Args:
        uri: of the private key.
        path: the public one becomes PATH.pub.
        secret: gives the passphrase of a key.

    Returns:
        What was written, as a sentence.

    Raises:
        UsageError: it is another kind of key.
        MetadataError: the key can't be used.
        CreateError, NotPermittedError, DeviceError: the file can't be made, or is there already.

    Durability: it is on the disk once this returns.
    """
    from inspect import signature

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from securesystemslib.signer import HSMSigner, SSlibKey

    parts = urlsplit(uri)
    if parts.scheme == "envvar":
        public = _private_key(uri, _of_environment(uri), secret).public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        key = SSlibKey.from_crypto(public)
    elif parts.scheme == HSMSigner.SCHEME:
        label = parse_qs(parts.query).get("label", [None])[0]
        try:
            # Before 1.5 the library, which Debian 13 has, took several fields of the token.
            by_label = "token_label" in signature(HSMSigner.import_).parameters
            token: Any = label if by_label or label is None else {"label": label}
            key = HSMSigner.import_(int(parts.path) if parts.path else None, token)[1]
            pem = f"{key.keyval['public'].rstrip()}\n".encode()
        except Exception as error:  # the library of each token has errors of its own
            raise errors.MetadataError(f"cannot read the public key of {uri}: {_text(error)}") from error
    else:
        raise errors.UsageError(f"cannot read the public key of {uri}: it is neither hsm: nor envvar:")
    name = f"{path}.pub"
    if os.path.lexists(name):
        raise errors.CreateError(f"cannot make {name}: {os.strerror(errno.EEXIST)}")
    _create(name, pem, 0o644)
    return f"{name} is key {key.keyid[:SHOWN_DIGITS]}, of {uri}"


def signers(names: Sequence[str], keys: Mapping[str, "Key"], secret: Secret) -> list["Signer"]:
    """Find out which keys these are, and make signers of them.

    Args:
        names: of private keys: files, `envvar:` with the name of a variable that holds one, or URIs as securesystemslib
            knows them.
        keys: the public keys that may sign, by their ids.
        secret: gives the PIN or the passphrase of a key, and is asked once for each.

    Raises:
        InputError, NotPermittedError, DeviceError: a file or a secret can't be read.
        MetadataError: a key can't be used, or is none of those that may sign.
    """
    return [_signer(name, keys.values(), secret) for name in names]


def named(keyids: Iterable[str]) -> str:
    """Name keys in a message."""
    return ", ".join(sorted(keyid[:SHOWN_DIGITS] for keyid in keyids))


def _signer(name: str, keys: Iterable["Key"], secret: Secret) -> "Signer":
    said: list[str] = []

    def once(_what: str) -> str:
        if not said:
            said.append(secret(name))
        return said[0]

    make = _maker(name, secret, once)
    cause: Exception | None = None
    for key in keys:
        try:
            signer = make(key)
            signature = signer.sign(_PROBE)
        except errors.ManagebootError:
            raise
        except Exception as error:
            # Each kind of signer has errors of its own, also for another's key.
            cause = error
            # A token counts wrong PINs, and locks itself after a few: the next key would be the next attempt.
            if said:
                raise errors.MetadataError(f"cannot sign with {name}: {_text(error)}") from error
            continue
        try:
            key.verify_signature(signature, _PROBE)
        except Exception as error:  # noqa: BLE001  of another's key
            cause = error
        else:
            return signer
    why = f"it is none of the keys {named(key.keyid for key in keys)}, which may sign"
    # Of a file, which may be read and is a key, nothing else is to be said.
    more = f"; the last attempt: {_text(cause)}" if cause is not None and _is_uri(name) else ""
    raise errors.MetadataError(f"cannot sign with {name}: {why}{more}") from cause


def _maker(name: str, secret: Secret, once: Secret) -> "Callable[[Key], Signer]":
    """Return what makes a signer that stands for a public key, if the private key is that one's.

    A file is decrypted here; `once` is asked when a signer is made, or signs.
    """
    from securesystemslib.signer import CryptoSigner, Signer

    if _is_uri(name) and not name.startswith("envvar:"):
        return lambda key: Signer.from_priv_key_uri(name, key, once)
    content = _of_environment(name) if _is_uri(name) else _read(name)
    private = _private_key(name, content, secret)
    return lambda key: CryptoSigner(private, key)  # type: ignore[arg-type]  # it judges the kind of key itself


def _private_key(name: str, content: bytes, secret: Secret) -> "PrivateKeyTypes":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        try:
            return load_pem_private_key(content, None)
        except TypeError:
            # It is encrypted.
            return load_pem_private_key(content, secret(name).encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise errors.MetadataError(f"cannot sign with {name}: {_text(error)}") from error


def _of_environment(uri: str) -> bytes:
    variable = uri.removeprefix("envvar:")
    content = os.environ.get(variable)
    if not content:
        raise errors.InputError(f"cannot sign with {uri}: there is no variable {variable}")
    return content.encode()


def _is_uri(name: str) -> bool:
    return re.match("[a-z][a-z0-9]+:", name) is not None


def _text(error: Exception | None) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _read(path: str) -> bytes:
    try:
        return files.read(path, KEY_BYTES_MAX)
    except OSError as error:
        raise errors.from_os_error(error, f"open {path}", errors.InputError) from error
    except ValueError as error:
        raise errors.InputError(f"cannot open {path}: {error}") from error


def _create(path: str, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        files.flush_directory(os.path.dirname(path) or ".")
    except OSError as error:
        raise errors.from_os_error(error, f"make {path}", errors.CreateError) from error
