"""What is in an update image or a release, and whether it fits here; writes nothing."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from manageboot import errors
from manageboot.boot.cmdline import booted_slot
from manageboot.config import Config
from manageboot.disk import devices
from manageboot.image import BOOT, ROOT, VERSION, Member, UpdateImage, content, member_name, open_image
from manageboot.image.acceptance import Whole, check_whole, checked
from manageboot.image.version import Version, read_version
from manageboot.report import inspectedrelease
from manageboot.system.text import one_line

SCHEMA = 1


def inspect(config: Config | None, images: Sequence[str]) -> dict[str, Any]:
    """Read an update image or a release to its end, and compare its sizes with the passive slot's.

    Args:
        config: the settings of this node; None: it is not a node with slots, so there is nothing to compare with.
        images: as for `install.install`; or the directory of one release, or its URL with a slash at the end.

    Raises:
        InputError, DataError, NotPermittedError: the image can't be read, or is bad.
        FetchError, FetcherError, ConfigError: it can't be fetched.
    """
    version = Version()
    members: dict[str, dict[str, Any]] = {}
    read: dict[str, Whole] = {}
    names: Sequence[str] = (BOOT, ROOT) if config is None else [member_name(role) for role in config.roles.written]
    how = {} if config is None else config.channel.fetch
    found = inspectedrelease.find(images, how)
    if found is not None and config is None:
        names = [member_name(image.role) for image in found.release.images]
    update: UpdateImage
    with ExitStack() as stack:
        if found is None:
            update = stack.enter_context(open_image(images, names, channel=how))
        else:
            stack.callback(found.place.close)
            update = stack.enter_context(found.opened(names))
        check_content = config is None or config.install.check_content
        for member in checked(update) if check_content else update.members():
            if member.name == VERSION:
                version = read_version(member)
            else:
                described = content.describe(member.head)
                read[member.name] = whole = _read(member)
                members[member.name] = {
                    "size": member.size,
                    "data_size": member.data_size,
                    "digest": whole.digest,
                    "content": described,
                }
        if check_content:
            check_whole(read)
        capacities = _capacities(config)
        for name, values in members.items():
            values["capacity"] = capacities.get(name)
        room = [values["size"] <= values["capacity"] for values in members.values() if values["capacity"] is not None]
        fits = all(room) if room else None
        return {
            "schema": SCHEMA,
            "format": update.format,
            "size": update.bytes_read,
            "sha256": update.sha256,
            "version": version.text,
            "images": members,
            "ignored": list(update.ignored),
            "remarks": [*update.remarks, *([version.problem] if version.problem else [])],
            "fits": fits,
            "release": None if found is None else inspectedrelease.judge(config, found, fits=fits),
        }


def render(result: dict[str, Any]) -> str:
    """Write what `inspect` found for a person."""
    lines = [
        f"format   {result['format']}, {result['size']} bytes",
        f"sha256   {result['sha256'] or 'none, these are several files'}",
        f"version  {result['version'] or 'unknown'}",
    ]
    for name, values in result["images"].items():
        room = "" if values["capacity"] is None else f", the passive slot has room for {values['capacity']}"
        lines.append(f"{name:<8} {values['size']} bytes, {values['data_size']} of them data{room}")
        lines.append(f"{'':<8} {values['content'] or 'content unknown'}")
        lines.append(f"{'':<8} digest {values['digest']}")
    lines += [f"ignored  {name}" for name in result["ignored"]]
    lines += [f"remark   {remark}" for remark in result["remarks"]]
    lines.append("fits     " + {True: "yes", False: "no", None: "unknown, this node has no such slots"}[result["fits"]])
    if result["release"] is not None:
        lines += inspectedrelease.render(result["release"], result["sha256"], fits=result["fits"])
    # The names of members are whoever's who packed them.
    return "\n".join(map(one_line, lines))


def _read(member: Member) -> Whole:
    digest = member.digest()
    return Whole(member.size, not digest.windows, digest.hexdigest(member.size))


def _capacities(config: Config | None) -> dict[str, int]:
    """Return the sizes of the passive slot's devices in bytes, as far as they can be told."""
    if config is None:
        return {}
    try:
        passive = devices.find_together(config.slots[booted_slot(config.boot).other])
        sizes = {member_name(role): devices.size(path) for role, path in passive.items()}
    except errors.ManagebootError:
        return {}
    return {name: size for name, size in sizes.items() if size is not None}
