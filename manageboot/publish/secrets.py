"""The PIN of a token, or the passphrase of a file: from a file, or from whoever sits at the terminal."""

from collections.abc import Callable

from manageboot import errors
from manageboot.system import files

Secret = Callable[[str], str]
"""Gives the secret of a key that messages call by a name."""

_BYTES_MAX = 4096


def asker(path: str | None) -> Secret:
    """Return what gives the secret of a key.

    Args:
        path: a file that begins with a line with the secret of all keys; None: the terminal is asked for each.
    """

    def from_file(_name: str) -> str:
        assert path is not None
        try:
            return files.read(path, _BYTES_MAX).decode().partition("\n")[0]
        except OSError as error:
            raise errors.from_os_error(error, f"read {path}", errors.InputError) from error
        except ValueError as error:
            raise errors.InputError(f"cannot read {path}: it is not a line of text") from error

    return ask if path is None else from_file


def ask(name: str) -> str:
    """Ask whoever sits at the terminal, which shows nothing of the answer.

    Raises:
        InputError: there is no terminal, or nobody answers.
    """
    import getpass
    import warnings

    try:
        with warnings.catch_warnings():
            # Without a terminal it would read from standard input, and show what is typed there.
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(f"PIN or passphrase of {name}: ")
    except (OSError, EOFError, getpass.GetPassWarning) as error:
        hint = "--secret names a file that has it"
        raise errors.InputError(
            f"cannot sign with {name}: it needs a PIN or a passphrase, and nobody can be asked", hint=hint
        ) from error
