"""Whether a file is there. One that can't be looked at is neither there nor absent, and that is an error."""

import os

from manageboot import errors


def is_there(path: str, otherwise: type[errors.ManagebootError] = errors.InputError) -> bool:
    """Say whether there is a file, symbolic links followed.

    Args:
        path: the file.
        otherwise: the class of error for causes that say nothing special.

    Raises:
        NotPermittedError, DeviceError, or `otherwise`: that can't be told.
    """
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise errors.from_os_error(error, f"look for {path}", otherwise) from error
    return True


def broken_link(path: str) -> str | None:
    """Return the link that leads nowhere, in the place of a file or on the way to it; None: there is none."""
    parts = path.split("/")
    places = ("/".join(parts[:count]) for count in range(2, len(parts) + 1))
    return next((place for place in places if os.path.islink(place) and not os.path.exists(place)), None)
