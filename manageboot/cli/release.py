"""Does what `manageboot release` is asked for; it needs no configuration, and no node."""

import argparse
import os
import re
from collections.abc import Callable, Iterable

from manageboot import errors
from manageboot.cli import answer
from manageboot.release import rollout
from manageboot.release.rollout import Rollout
from manageboot.system import console


def perform(options: argparse.Namespace) -> None:
    """Do one action.

    Raises:
        ManagebootError: it can't be done.
    """
    if options.disk is not None:
        raise errors.UsageError("cannot run: release has no use for --disk")
    try:
        done = _ACTIONS[options.action](options)
    except ModuleNotFoundError as error:
        if error.name == "manageboot.publish":
            raise errors.InputError(
                f"cannot run release {options.action}: manageboot.publish is not installed on a node",
                hint="run it where releases are built: docs/releases.md",
            ) from error
        if error.name is None or error.name.partition(".")[0] not in {
            "tuf",
            "securesystemslib",
            "cryptography",
            "numpy",
        }:
            raise
        hint = "pip install 'manageboot[build]'"
        raise errors.InputError(
            f"cannot run release {options.action}: {error.name} is not installed", hint=hint
        ) from error
    if done is None:
        return
    for line in done.splitlines():
        console.tell(f"manageboot: {line}")
    if options.json:
        answer.done("release", done, None)


def _build(options: argparse.Namespace) -> str:
    from manageboot.publish import build
    from manageboot.release.description import Requirements

    plan = build.Plan(
        output=options.output,
        release_index=options.index,
        min_index=options.min_index,
        version=options.version,
        built=build.environment_time(os.environ) if options.built is None else options.built,
        requires=Requirements(options.agent, tuple(options.systems), tuple(options.hardware)),
        roles=tuple(options.role) if options.role else build.Plan._field_defaults["roles"],
        any_content=options.any_content,
        olds=tuple(options.olds),
        dictionary_blocks=options.dictionary,
        level=options.level,
        threads=options.threads,
        style=options.progress,
    )
    return build.build(options.images, plan)


def _keys(options: argparse.Namespace) -> str:
    from manageboot.publish import keys, secrets

    if options.of is not None:
        if len(options.files) != 1:
            raise errors.UsageError("cannot run: --of is of one key")
        return keys.export(options.of, options.files[0], secrets.asker(options.secret))
    return "\n".join(keys.generate(path) for path in options.files)


def _root(options: argparse.Namespace) -> str:
    from manageboot.publish import root, secrets

    changes = root.Changes(
        add=_by_role(options.add),
        remove=_by_role(options.remove),
        thresholds=_numbers(options.threshold, 100),
        days=options.expires,
    )
    return root.change(options.directory, changes, options.key, secrets.asker(options.secret))


def _sign(options: argparse.Namespace) -> str:
    from manageboot.publish import secrets, sign

    days = dict(_numbers(options.expires, 36500))
    if "root" in days:
        raise errors.UsageError("cannot run: root is signed by `manageboot release root`")
    if not options.key and not options.draft:
        raise errors.UsageError("cannot run: sign needs --key; only a draft can wait for it")
    # A shell completes the name of a directory with a slash.
    versions = [version.rstrip("/") for version in options.versions]
    order = sign.Order(
        versions,
        options.remove,
        options.key,
        secrets.asker(options.secret),
        sign.DAYS | days,
        options.progress,
        _rollout(options),
        options.draft,
    )
    return sign.sign(options.directory, order)


def _rollout(options: argparse.Namespace) -> Rollout | None:
    begins, ends = options.rollout_from, options.rollout_until
    if options.rollout is None:
        if begins is not None or ends is not None:
            raise errors.UsageError("cannot run: --rollout-from and --rollout-until need --rollout")
        return None
    if not options.versions:
        raise errors.UsageError("cannot run: --rollout needs the version of the release that it is of")
    try:
        return rollout.checked(Rollout(options.rollout, begins, ends))
    except ValueError as error:
        raise errors.UsageError(f"cannot run: this rollout makes no sense: {error}") from error


def _check(options: argparse.Namespace) -> None:
    from manageboot.publish import check

    result = check.check(options.directory, options.root, options.progress)
    if options.json:
        answer.show(result)
    else:
        console.answer(check.render(result))


_ACTIONS: dict[str, Callable[[argparse.Namespace], str | None]] = {
    "build": _build,
    "keys": _keys,
    "root": _root,
    "sign": _sign,
    "check": _check,
}


def _by_role(words: Iterable[str]) -> list[tuple[str, str]]:
    from manageboot.publish.metadata import ROLES

    pairs = [word.partition("=") for word in words]
    for role, _, value in pairs:
        if role not in ROLES or not value:
            raise errors.UsageError(f"cannot run: ROLE=… needs one of the roles {', '.join(ROLES)}, and a value")
    return [(role, value) for role, _, value in pairs]


def _numbers(words: Iterable[str], most: int) -> list[tuple[str, int]]:
    pairs = _by_role(words)
    for role, value in pairs:
        if not re.fullmatch("[1-9][0-9]{0,4}", value) or int(value) > most:
            raise errors.UsageError(f"cannot run: {role}={value} needs a number from 1 to {most}")
    return [(role, int(value)) for role, value in pairs]
