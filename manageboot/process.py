"""External commands; the only module that imports sh."""

import os
import shlex
from collections.abc import Sequence
from typing import Any

from manageboot import errors

_TIMEOUT_S = 60
_ENVIRONMENT = ("LANG", "LC_ALL", "DBUS_SYSTEM_BUS_ADDRESS")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for when the caller's environment does not say: it may be empty."""


def search_path() -> str:
    """Return where programs are looked for."""
    return os.environ.get("PATH") or _PATH


def prepare() -> None:
    """Load what `run` needs while the disk that it lies on still answers."""
    import sh  # noqa: F401 - it is loaded for `run`


def run(command: Sequence[str], *, failure: type[errors.ManagebootError], doing: str, hint: str | None = None) -> str:
    """Run a command and return what it printed on stdout.

    The command has no terminal and no stdin, a minimal environment, and 60 s.

    Args:
        command: program and arguments; no shell is involved.
        failure: the error to raise.
        doing: the first half of that error's sentence, such as "reboot".
        hint: what to do about it.

    Raises:
        The class in `failure`: the program is not there, exits with another status than 0, or takes too long. The
        message has the command line as it could be pasted, and the end of its stderr.
    """
    # Imported here: it costs 90 ms, and no query runs a command.
    import sh

    line = shlex.join(command)
    path = search_path()
    options: dict[str, Any] = {
        "_in": "",
        "_tty_out": False,
        "_truncate_exc": False,
        "_timeout": _TIMEOUT_S,
        "_env": {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | {"PATH": path},
    }
    try:
        return str(sh.Command(command[0], search_paths=path.split(":"))(*command[1:], **options))
    except (sh.ForkException, OSError) as error:
        raise failure(f"cannot {doing}: `{line}` does not start", hint=hint) from error
    except sh.CommandNotFound as error:
        raise failure(f"cannot {doing}: there is no program {command[0]}", hint=hint) from error
    except sh.TimeoutException as error:
        raise failure(f"cannot {doing}: `{line}` took more than {_TIMEOUT_S} s", hint=hint) from error
    except sh.ErrorReturnCode as error:
        said = error.stderr.decode("utf-8", "replace").strip().splitlines()
        cause = f": {said[-1]}" if said else ""
        raise failure(f"cannot {doing}: `{line}` exited with {error.exit_code}{cause}", hint=hint) from error
