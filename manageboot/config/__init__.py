"""The configuration: a profile that ships inside the package, and a TOML file over it.

Settings are NamedTuples, not dataclasses: `dataclasses` imports `inspect`, and a query would wait for that.
"""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from manageboot import errors
from manageboot.config import toml
from manageboot.config.toml import Table
from manageboot.protocol import MAX_TRIES, Slot
from manageboot.system import console, files

if TYPE_CHECKING:
    from grubenv import Inside

CONFIG_PATHS = (
    "/etc/manageboot/manageboot.toml",
    "/run/manageboot/manageboot.toml",
    "/usr/lib/manageboot/manageboot.toml",
)
OS_TYPE_PATH = "/opt/ic/share/os-type"
PROFILES = ("guestos", "hostos", "custom")
CHANNEL_KEYS = ("proxy", "ca", "certificate", "key", "netrc", "rate", "stall", "deadline", "backoff")

__loader__: Any  # every module has it; mypy does not know
_PROFILE_DIRECTORY = os.path.join(os.path.dirname(__file__), "profiles")

_NOTHING: Mapping[str, object] = {}


class BootConfig(NamedTuple):
    """Where kernel command line and environment block are, and how to reboot."""

    grubenv: "str | Inside"
    cmdline: str | None
    """None: its disk is worked on offline."""
    cmdline_key: str
    reboot_command: tuple[str, ...]
    tries: int
    reboot_again: bool
    grub_partition: str | None = None
    """The partition of the block, for whoever works on the disk offline."""
    owner_file: str | None = None
    """What only the machine has that owns the disk; None: no other one runs from it."""
    counts_as_booted: Slot | None = None
    """Of a system that is worked on offline, the slot that is spared, as the trusted one is to be overwritten; None:
    the block tells which."""
    disk_user: str | None = None
    """Who uses its disk, which is most likely that system itself, and what is read of it may be stale; None: nobody."""

    @property
    def directory(self) -> str:
        """The directory of the block, links followed: there lies what GRUB reads and no upgrade touches."""
        assert isinstance(self.grubenv, str), "nobody asks for this offline"
        return os.path.dirname(os.path.realpath(self.grubenv))


SlotConfig = dict[str, str]
"""The device specifications of one slot, by role: a path, PARTUUID=..., PARTLABEL=... or LV=group/name."""


class RolesConfig(NamedTuple):
    """The parts that every slot consists of, in order."""

    written: tuple[str, ...]
    """Those that an update image brings, each as the member ROLE.img; `root` is one of them."""
    wiped: tuple[str, ...]
    """Those that an installation wipes; a slot may lack them."""

    @property
    def header_last(self) -> str:
        """The role that GRUB loads the kernel from: its header, written last, is what makes a slot bootable."""
        return "boot" if "boot" in self.written else "root"


class StateConfig(NamedTuple):
    """Where the records, the lock and the history are; a history of None is beside the environment block."""

    directory: str
    lock: str
    history: str | None
    lock_timeout_s: int
    """How long a run waits for another one to end; 0: not at all."""

    @property
    def runtime_directory(self) -> str:
        """Where the lock is, and beside it what is good for one boot."""
        return os.path.dirname(self.lock)


class InstallConfig(NamedTuple):
    """How the passive slot is written."""

    wipe_var_bytes: int
    verify: bool
    check_sample: bool | tuple[str, ...]
    """Whether a commit looks at a sample of what was installed, or for which roles it does."""
    check_content: bool = True
    """Whether images are refused that are known to be none that a slot can hold."""


class ChannelConfig(NamedTuple):
    """Where releases come from, and which are taken."""

    mirrors: tuple[str, ...] = ()
    """Directories, or URLs, that hold the same releases; the first one that has good ones counts."""
    root: str | None = None
    """The first root.json, which ships with the system; None: no signature can be trusted."""
    policy: str = "newest"
    required: bool = False
    """Whether an update image is refused that is neither signed nor pinned."""
    sha256_pins: bool = False
    """Whether `--sha256` counts as pinned."""
    system: str | None = None
    """What releases call this system; None: what the profile is called."""
    hardware: str | None = None
    """What releases call this hardware; None: nobody said."""
    unattended: str = "check"
    window: str | None = None
    """When the node may reboot by itself, a calendar expression of systemd, for `window_s` seconds; None: never."""
    window_s: int = 0
    use_deltas: bool = True
    delta_fallback: str = "full"
    fetch: Mapping[str, object] = _NOTHING
    """How to fetch, as the file says it; `fetch.options` judges that, once something is fetched."""


class ConfirmConfig(NamedTuple):
    """Who confirms a trial, and how long it may take; a deadline of 0 s means for ever."""

    policy: str
    deadline_s: int


class HealthConfig(NamedTuple):
    """What has to work before a trial is good."""

    required_units: tuple[str, ...]
    directory: str
    timeout_s: int


class MetricsConfig(NamedTuple):
    """Where the metrics go."""

    directory: str


class Config(NamedTuple):
    """All settings."""

    profile: str
    boot: BootConfig
    roles: RolesConfig
    slots: dict[Slot, SlotConfig]
    state: StateConfig
    install: InstallConfig
    confirm: ConfirmConfig
    health: HealthConfig
    metrics: MetricsConfig
    channel: ChannelConfig = ChannelConfig()


def load(
    path: str | None = None,
    *,
    profile: str | None = None,
    grubenv: str | None = None,
    lock_timeout_s: int | None = None,
    foreign: bool = False,
) -> Config:
    """Read the configuration.

    Args:
        path: the configuration file; None: the first of CONFIG_PATHS that is there, or none at all.
        profile: overrides the profile of the file.
        grubenv: overrides the path of the environment block.
        lock_timeout_s: overrides how long a run waits for another one, in seconds.
        foreign: whether it is for the disk of another system; then only `path` counts, not what this one has, and
            without a word about the profile it is guestos.

    Raises:
        ConfigError: a file is unreadable or no TOML, a key is unknown or missing, or a value makes no sense.
        NotPermittedError, DeviceError: it can't be told whether there is a file, or it can't be read.
    """
    if path is None and not foreign:
        path = own_path()
    own = toml.read(path) if path is not None else {}
    named = Table(own, "", str(path)).choice("profile", PROFILES, str) if "profile" in own else None
    name = profile or named or ("guestos" if foreign else _os_type()) or "custom"
    if path is None and name == "custom" and not foreign:
        raise _no_configuration()
    layers = [_profile("custom")]
    if name != "custom":
        layers.append(_profile(name))
    layers.append({key: value for key, value in own.items() if key != "profile"})
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _overlay(merged, layer)
    config = _build(name, merged, path or f"the profile {name}")
    if grubenv is not None:
        config = config._replace(boot=config.boot._replace(grubenv=grubenv))
    if lock_timeout_s is not None:
        config = config._replace(state=config.state._replace(lock_timeout_s=lock_timeout_s))
    if console.debug:
        console.debug("config: %s, over the profile %s", path or "no file", name)
    return config


def _no_configuration() -> errors.ConfigError:
    """Say what a machine lacks that nobody has set up: no fault of its slots, which nobody has named."""
    where = "nothing says which slots there are"
    hint = "`manageboot init` says what this machine has of an A/B layout; docs/start.md builds one in a file"
    if in_container():
        where = "this container's boot is a matter of its host"
        hint = "run it on the host; docs/start.md builds a node in a file, to try it"
    return errors.ConfigError(f"cannot find a configuration: there is no {CONFIG_PATHS[0]}, and {where}", hint=hint)


def in_container() -> bool:
    """Say whether this is a container. Source: the container interface of systemd, Docker's and Podman's files."""
    return any(map(os.path.exists, ("/run/systemd/container", "/run/.containerenv", "/.dockerenv")))


def exists(path: str | None, *, profile: str | None) -> bool:
    """Return whether there is anything to go by: a file, a profile, or the type of the system.

    Raises:
        ConfigError, NotPermittedError, DeviceError: that can't be told.
    """
    return bool(path or profile or _os_type() or own_path())


def own_path() -> str | None:
    """Return the path of this system's own configuration file; None: it has none.

    Raises:
        ConfigError, NotPermittedError, DeviceError: that can't be told.
    """
    return next((candidate for candidate in CONFIG_PATHS if _is_there(candidate)), None)


def _is_there(path: str) -> bool:
    """Say whether there is a file; passing over one that can't be looked at would be to work with other settings.

    Raises:
        ConfigError, NotPermittedError, DeviceError: it can't be looked at, or is a link that leads nowhere.
    """
    if files.is_there(path, errors.ConfigError):
        return True
    if (link := files.broken_link(path)) is not None:
        raise errors.ConfigError(f"cannot read {path}: {link} is a link to {os.readlink(link)}, which is not there")
    return False


def _os_type() -> str | None:
    if not _is_there(OS_TYPE_PATH):
        return None
    try:
        name = files.read(OS_TYPE_PATH, 4096).decode(errors="replace").strip()
    except ValueError as error:
        raise errors.ConfigError(f"cannot read {OS_TYPE_PATH}: {error}") from error
    except OSError as error:
        raise errors.from_os_error(error, f"read {OS_TYPE_PATH}", errors.ConfigError) from error
    # Other systems of IC-OS, such as setupos, have no slots of their own.
    return name if name in PROFILES else None


def _profile(name: str) -> dict[str, Any]:
    """Read a profile, which lies beside this module: in a directory, or in an archive that Python runs from."""
    path = os.path.join(_PROFILE_DIRECTORY, f"{name}.toml")
    return toml.parse(path, __loader__.get_data(path))


def _overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        merged[key] = _overlay(lower, value) if isinstance(lower, dict) and isinstance(value, dict) else value
    return merged


def _build(profile: str, values: Mapping[str, Any], source: str) -> Config:
    top = Table(values, "", source)
    boot = top.table("boot")
    slots = top.table("slots")
    state = top.table("state")
    install = top.table("install")
    confirm = top.table("confirm")
    health = top.table("health")
    metrics = top.table("metrics")
    channel = top.table("channel")
    delta = top.table("delta")
    roles = _roles(slots)
    by_slot = {slot: slots.table(slot.value) for slot in Slot}
    config = Config(
        profile=profile,
        boot=BootConfig(
            grubenv=boot.path("grubenv"),
            cmdline=boot.path("cmdline"),
            cmdline_key=boot.matching("cmdline_key", _WORD, "a word"),
            reboot_command=boot.strings("reboot_command"),
            tries=boot.number("tries", 1, MAX_TRIES),
            reboot_again=boot.take("reboot_again", bool, "true or false"),
            grub_partition=_spec(boot, "grub_partition") if boot.has("grub_partition") else None,
            owner_file=boot.path("owner_file") if boot.has("owner_file") else None,
        ),
        roles=roles,
        slots={slot: _slot(table, roles) for slot, table in by_slot.items()},
        state=StateConfig(
            directory=state.path("directory"),
            lock=state.path("lock"),
            history=state.path("history") if state.has("history") else None,
            lock_timeout_s=state.duration("lock_timeout"),
        ),
        install=InstallConfig(
            wipe_var_bytes=install.size("wipe_var"),
            verify=install.take("verify", bool, "true or false"),
            check_sample=install.switch("check_sample", roles.written),
            check_content=install.take("check_content", bool, "true or false"),
        ),
        confirm=ConfirmConfig(
            policy=confirm.choice("policy", ("external", "automatic"), str), deadline_s=confirm.duration("deadline")
        ),
        health=HealthConfig(
            required_units=health.names("required_units"),
            directory=health.path("directory"),
            timeout_s=health.duration("timeout"),
        ),
        metrics=MetricsConfig(directory=metrics.path("directory")),
        channel=ChannelConfig(
            mirrors=channel.names("mirrors"),
            root=channel.path("root") if channel.has("root") else None,
            policy=channel.choice("policy", ("newest", "named"), str),
            required=channel.take("required", bool, "true or false"),
            sha256_pins=channel.take("sha256_pins", bool, "true or false"),
            system=channel.matching("system", _NAME, "a name") if channel.has("system") else None,
            hardware=channel.matching("hardware", _NAME, "a name") if channel.has("hardware") else None,
            unattended=channel.choice("unattended", ("check", "install", "commit"), str),
            window=channel.matching("window", _CALENDAR, "a calendar expression") if channel.has("window") else None,
            window_s=channel.duration("window_duration"),
            use_deltas=delta.take("use", bool, "true or false"),
            delta_fallback=delta.choice("fallback", ("full", "fail"), str),
            fetch={key: channel.take(key, object, "a value") for key in CHANNEL_KEYS if channel.has(key)},
        ),
    )
    for table in (top, boot, slots, state, install, confirm, health, metrics, channel, delta, *by_slot.values()):
        table.finish()
    if not config.boot.reboot_command or not config.boot.reboot_command[0]:
        raise errors.ConfigError(f"cannot use {source}: boot.reboot_command names no program")
    specs = [spec for slot in config.slots.values() for spec in slot.values()]
    for spec in specs:
        if specs.count(spec) > 1:
            raise errors.ConfigError(f"cannot use {source}: {spec} is listed twice in slots")
    return config


_WORD = r'[^\s"=]+'
"""What the kernel takes for the name of a parameter. A string, as compiling one costs a query 0.5 ms."""

_NAME = "[A-Za-z0-9][A-Za-z0-9.:+_-]{0,63}"
"""How a release calls systems and hardware; docs/release-format.md has it."""

_CALENDAR = r"[A-Za-z0-9*][A-Za-z0-9 ,:*/~._+-]{0,199}"

_SPEC = r"/.+|(?:PARTUUID|PARTLABEL)=.+|LV=[^/]+/[^/]+"

# In the record a role stands beside these; a test compares them.
TAKEN_NAMES = frozenset({
    "state", "content", "images", "version", "transaction", "source", "source_sha256", "started", "installed",
    "committed", "committed_in", "confirmed", "failure", "nonce",
})  # fmt: skip


def _roles(table: Table) -> RolesConfig:
    roles = RolesConfig(table.names("written"), table.names("wiped"))
    everything = roles.written + roles.wiped
    for role in everything:
        if not re.fullmatch("[a-z][a-z0-9_-]*", role) or role in TAKEN_NAMES:
            raise errors.ConfigError(f"cannot use {table.source}: {role!r} is not a name for a role of slots")
        if everything.count(role) > 1:
            raise errors.ConfigError(
                f"cannot use {table.source}: {role} is listed twice in slots.written and slots.wiped"
            )
    if "root" not in roles.written:
        raise errors.ConfigError(f"cannot use {table.source}: slots.written has to name root")
    return roles


def _slot(table: Table, roles: RolesConfig) -> SlotConfig:
    there = [role for role in roles.written + roles.wiped if role in roles.written or table.has(role)]
    return {role: _spec(table, role) for role in there}


def _spec(table: Table, key: str) -> str:
    return table.matching(key, _SPEC, "a device path, PARTUUID=..., PARTLABEL=... or LV=group/name")
