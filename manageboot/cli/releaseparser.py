"""The words and options of `manageboot release`."""

import argparse
import re
from typing import Any

from manageboot.release import rollout
from manageboot.release.description import NUMBER_MAX

_PROGRESS = "auto draws a bar on a terminal"
_KEY = "a private key: a file, envvar:NAME, or a URI of securesystemslib, such as hsm:…"
_SECRET = "a file with the PIN or passphrase of the keys; else you are asked"


def add_actions(release: argparse.ArgumentParser, formatter: Any) -> None:
    """Add what `release` can do to its parser."""
    actions = release.add_subparsers(metavar="ACTION", required=True, dest="action")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        action: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=text, formatter_class=formatter, allow_abbrev=False
        )
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object")
        return action

    _add_build(add("build", "make a release out of an update image"))
    keys = add("keys", "make pairs of Ed25519 keys")
    keys.add_argument("files", nargs="+", metavar="FILE", help="the private key; the public one becomes FILE.pub")
    keys.add_argument("--of", metavar="KEY", help="write the public key of hsm:… or envvar:… instead of a new pair")
    keys.add_argument("--secret", metavar="FILE", help=_SECRET)
    _add_root(add("root", "draft a new root of trust, or sign the draft"))
    _add_sign(add("sign", "tell nodes of releases, or renew what told them"))
    check = add("check", "read everything that nodes read, and more")
    check.add_argument("directory", metavar="DIRECTORY", help="what is published, or one release alone")
    check.add_argument("--root", metavar="FILE", help="the root that nodes trust; else the first that is published")
    check.add_argument("--progress", choices=("auto", "bar", "json", "none"), default="auto", help=_PROGRESS)


def _add_build(build: argparse.ArgumentParser) -> None:
    build.add_argument("images", nargs="+", metavar="IMAGE", help="an archive, or BOOT_IMG ROOT_IMG")
    build.add_argument("--output", required=True, metavar="DIRECTORY", help="where the release's directory is made")
    build.add_argument(
        "--index", required=True, type=_number(1), metavar="N", help="the release index, higher than all before"
    )
    build.add_argument(
        "--min-index", type=_number(0), default=0, metavar="N", help="refuse lower ones once this one is confirmed"
    )
    build.add_argument("--version", metavar="VERSION", help="instead of what VERSION.TXT says")
    build.add_argument("--agent", metavar="X.Y.Z", help="the oldest manageboot that may install it")
    build.add_argument(
        "--system", action="append", default=[], dest="systems", metavar="NAME", help="a system that it is for"
    )
    build.add_argument("--hardware", action="append", default=[], metavar="NAME", help="hardware that it is for")
    build.add_argument(
        "--built", type=_number(0), metavar="SECONDS", help="when it was built, since 1970; else SOURCE_DATE_EPOCH"
    )
    build.add_argument(
        "--role", action="append", metavar="ROLE", help="a role that has an image; without it, boot and root"
    )
    build.add_argument("--any-content", action="store_true", help="also images that no slot is known to hold")
    build.add_argument(
        "--from", action="append", default=[], dest="olds", metavar="OLD", help="an old release, for a delta from it"
    )
    build.add_argument(
        "--dictionary", type=_number(0, 1024), default=512, metavar="N", help="blocks of 4 KiB for a delta's frame; 512"
    )
    build.add_argument("--level", type=_number(1, 22), default=19, metavar="N", help="of zstd, 1 to 22; 19")
    build.add_argument("--threads", type=_number(1, 256), metavar="N", help="that compress; one for each processor")
    build.add_argument("--progress", choices=("auto", "bar", "json", "none"), default="auto", help=_PROGRESS)


def _add_root(root: argparse.ArgumentParser) -> None:
    root.add_argument("directory", metavar="DIRECTORY", help="what is published")
    root.add_argument("--add", action="append", default=[], metavar="ROLE=FILE", help="a public key that may sign")
    root.add_argument(
        "--remove", action="append", default=[], metavar="ROLE=KEY", help="a key's file or id, which no more may"
    )
    root.add_argument(
        "--threshold", action="append", default=[], metavar="ROLE=N", help="how many have to sign; 2 for root, else 1"
    )
    root.add_argument("--expires", type=_number(1, 36500), metavar="DAYS", help="from now; 730")
    root.add_argument("--key", action="append", default=[], metavar="KEY", help=_KEY)
    root.add_argument("--secret", metavar="FILE", help=_SECRET)


def _add_sign(sign: argparse.ArgumentParser) -> None:
    sign.add_argument("directory", metavar="DIRECTORY", help="what is published")
    sign.add_argument("versions", nargs="*", metavar="VERSION", help="releases to add; none: renew")
    sign.add_argument("--remove", action="append", default=[], metavar="VERSION", help="a release to withdraw")
    sign.add_argument(
        "--draft", action="store_true", help="draft targets, or sign the draft: whose keys are not all in one place"
    )
    sign.add_argument("--key", action="append", default=[], metavar="KEY", help=_KEY)
    sign.add_argument("--secret", metavar="FILE", help=_SECRET)
    sign.add_argument(
        "--expires",
        action="append",
        default=[],
        metavar="ROLE=DAYS",
        help="from now; targets=365, snapshot=90, timestamp=14",
    )
    sign.add_argument(
        "--rollout",
        type=_percent,
        metavar="PERCENT",
        help="of the nodes may take these releases by themselves; else all",
    )
    sign.add_argument(
        "--rollout-from", type=_time, metavar="TIME", help="none of them before that, such as 2027-01-31T06:00Z"
    )
    sign.add_argument("--rollout-until", type=_time, metavar="TIME", help="the share grows evenly until then")
    sign.add_argument("--progress", choices=("auto", "bar", "json", "none"), default="auto", help=_PROGRESS)


def _percent(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,2})?", text) or float(text) > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage from 0 to 100, with at most two decimals")
    return round(float(text) * rollout.WHOLE / 100)


def _time(text: str) -> int:
    try:
        return rollout.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time of ISO 8601 with a zone") from error


def _number(least: int, most: int = NUMBER_MAX) -> Any:
    def number(text: str) -> int:
        if not re.fullmatch("[0-9]{1,16}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
        return int(text)

    return number
