"""The words of `upgrade-install` that ask for a release instead of an update image."""

import argparse
import os
import re

from manageboot import errors
from manageboot.channel.channel import Wanted
from manageboot.image.source import is_url

_HINT = "manageboot --help"


def wanted(options: argparse.Namespace) -> Wanted | None:
    """Return which release a command line asks for; None: it names an update image.

    Raises:
        UsageError: it asks for both, or for neither.
    """
    pinned, images = options.release_sha256, options.images
    if pinned is not None and not re.fullmatch("[0-9a-fA-F]{64}", pinned):
        raise errors.UsageError("cannot run: --release-sha256 takes 64 hexadecimal digits", hint=_HINT)
    is_release = not images or (len(images) == 1 and _names_a_release(images[0], is_pinned=pinned is not None))
    if not is_release:
        for option, value in (("--release-sha256", pinned), ("--allow-downgrade", options.allow_downgrade)):
            if value:
                raise errors.UsageError(f"cannot run: {option} is for a release, not for an update image", hint=_HINT)
        return None
    if options.sha256 is not None:
        raise errors.UsageError("cannot run: --sha256 is for an archive", hint="--release-sha256 pins a release")
    return Wanted(images[0] if images else None, pinned, options.allow_downgrade)


def _names_a_release(image: str, *, is_pinned: bool) -> bool:
    """A directory was never an update image. What a server has is one, unless its URL ends in a slash, or is pinned."""
    return os.path.isdir(image) or ("://" in image and (is_pinned or image.endswith("/") or not is_url(image)))
