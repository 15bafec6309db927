"""Keys: made as files, and found again when something has to be signed."""

import errno
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from manageboot import errors
from manageboot.system import files

if TYPE_CHECKING:
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


def signers(names: Sequence[str], keys: Mapping[str, "Key"]) -> list["Signer"]:
    """Find out which keys these are, and make signers of them.

    Args:
        names: of private keys: files, or URIs as securesystemslib knows them.
        keys: the public keys that may sign, by their ids.

    Raises:
        InputError, NotPermittedError, DeviceError: a file can't be read.
        MetadataError: a key can't be used, or is none of those that may sign.
    """
    return [_signer(name, keys.values()) for name in names]


def named(keyids: Iterable[str]) -> str:
    """Name keys in a message."""
    return ", ".join(sorted(keyid[:SHOWN_DIGITS] for keyid in keyids))


def _signer(name: str, keys: Iterable["Key"]) -> "Signer":
    from securesystemslib.signer import Signer

    uri = name
    if not re.match("[a-z][a-z0-9]+:", name):
        _read(name)
        uri = f"file2:{files.absolute(name)}"
    cause = None
    for key in keys:
        try:
            signer = Signer.from_priv_key_uri(uri, key)
            key.verify_signature(signer.sign(_PROBE), _PROBE)
        except Exception as error:  # noqa: BLE001  each kind of signer has errors of its own, also for another's key
            cause = error
        else:
            return signer
    why = f"it is none of the keys {named(key.keyid for key in keys)}, which may sign"
    raise errors.MetadataError(f"cannot sign with {name}: {why}") from cause


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
