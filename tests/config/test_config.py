"""Configuration files: the shipped profiles, what lies over them, and each way to get it wrong."""

import os
import re
from pathlib import Path

import pytest

from manageboot import config, errors
from manageboot.boot.record import SlotRecord
from manageboot.config import toml
from manageboot.protocol import Slot

SLOTS = """
[slots.A]
boot = "/dev/a1"
root = "PARTUUID=7C0A626E-e5ea-e543-b5c5-300eb8304db7"
[slots.B]
boot = "PARTLABEL=B_boot"
root = "LV=hostlvm/B_root"
"""


@pytest.fixture(autouse=True)
def no_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No configuration and no os-type of the machine that runs the test."""
    monkeypatch.setattr(config, "CONFIG_PATHS", (str(tmp_path / "etc.toml"), str(tmp_path / "run.toml")))
    monkeypatch.setattr(config, "OS_TYPE_PATH", str(tmp_path / "os-type"))
    return tmp_path


def load(directory: Path, text: str, **options: str) -> config.Config:
    path = directory / "manageboot.toml"
    path.write_text(text)
    return config.load(str(path), **options)


def test_the_whole_example_of_the_interface(tmp_path: Path):
    loaded = load(
        tmp_path,
        """
        profile = "guestos"
        [boot]
        grubenv = "/boot/grub/grubenv"
        cmdline = "/proc/cmdline"
        cmdline_key = "dfinity.system"
        reboot_command = ["systemctl", "reboot"]
        tries = 1
        [slots.A]
        boot = "/dev/vda4"
        root = "/dev/vda5"
        var  = "/dev/vda6"
        [slots.B]
        boot = "/dev/vda7"
        root = "/dev/vda8"
        var  = "/dev/vda9"
        [state]
        directory = "/var/lib/manageboot"
        lock = "/run/manageboot/lock"
        [install]
        wipe_var = "16MiB"
        verify = true
        [confirm]
        policy = "external"
        deadline = "15min"
        [health]
        required_units = ["a.service"]
        directory = "/etc/manageboot/health.d"
        [metrics]
        directory = "/run/node_exporter/collector_textfile"
        """,
    )
    assert loaded.slots[Slot.B] == {"boot": "/dev/vda7", "root": "/dev/vda8", "var": "/dev/vda9"}
    assert loaded.boot.reboot_command == ("systemctl", "reboot")
    assert (loaded.install.wipe_var_bytes, loaded.confirm.deadline_s) == (16 << 20, 900)
    assert loaded.health.required_units == ("a.service",)


@pytest.mark.parametrize(
    ("profile", "root", "sampled"),
    [("guestos", "PARTUUID=a78bc3a8-376c-054a-96e7-3904b915d0c5", ("root",)), ("hostos", "LV=hostlvm/B_root", True)],
)
def test_profiles_need_no_file(profile: str, root: str, sampled: bool | tuple[str, ...]):
    loaded = config.load(profile=profile)
    assert loaded.slots[Slot.B]["root"] == root
    assert loaded.confirm.deadline_s == 0
    assert loaded.install == config.InstallConfig(wipe_var_bytes=16 << 20, verify=True, check_sample=sampled)


def test_the_profile_comes_from_the_command_line_the_file_or_the_os_type(no_system: Path):
    (no_system / "os-type").write_text("hostos\n")
    assert config.load().profile == "hostos"
    assert load(no_system, 'profile = "guestos"\n').profile == "guestos"
    assert load(no_system, 'profile = "guestos"\n', profile="hostos").profile == "hostos"
    (no_system / "os-type").write_text("setupos\n")
    with pytest.raises(errors.ConfigError, match="cannot find a configuration"):
        config.load()


@pytest.mark.parametrize("kind", ["fifo", "zeros"])
def test_an_os_type_that_is_no_file_keeps_nobody_waiting(no_system: Path, kind: str):
    path = no_system / "os-type"
    os.mkfifo(path) if kind == "fifo" else path.symlink_to("/dev/zero")
    with pytest.raises(errors.ConfigError, match=f"cannot read {path}: it is not a regular file"):
        config.load()


def test_the_first_file_that_exists_counts(no_system: Path):
    (no_system / "run.toml").write_text('profile = "hostos"\n')
    assert config.load().profile == "hostos"
    (no_system / "etc.toml").write_text('profile = "guestos"\n')
    assert config.load().profile == "guestos"


def test_a_file_overrides_single_keys_and_the_command_line_overrides_the_file(tmp_path: Path):
    text = '[boot]\ngrubenv = "/efi/grubenv"\n[slots.B]\nvar = "/dev/sdz"\n'
    loaded = load(tmp_path, text, profile="guestos")
    assert loaded.boot.grubenv == "/efi/grubenv"
    assert loaded.slots[Slot.B]["var"] == "/dev/sdz"
    assert loaded.slots[Slot.B]["root"].startswith("PARTUUID=")
    assert load(tmp_path, text, profile="guestos", grubenv="/other").boot.grubenv == "/other"


def test_var_is_optional_and_every_form_of_a_device_is_taken(tmp_path: Path):
    assert list(load(tmp_path, SLOTS).slots[Slot.A]) == ["boot", "root"]


def test_roles_are_configuration(tmp_path: Path):
    text = '[slots]\nwritten = ["root", "verity"]\nwiped = ["state_", "home"]\n' + SLOTS.replace("boot =", "verity =")
    loaded = load(tmp_path, text + 'home = "/dev/h"\n')
    assert loaded.roles == config.RolesConfig(("root", "verity"), ("state_", "home"))
    assert loaded.slots[Slot.B] == {"root": "LV=hostlvm/B_root", "verity": "PARTLABEL=B_boot", "home": "/dev/h"}
    assert (loaded.roles.header_last, load(tmp_path, SLOTS).roles.header_last) == ("root", "boot")


def test_no_role_is_called_like_what_else_the_record_has():
    assert {*SlotRecord._fields, "state"} == config.TAKEN_NAMES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[boot]\ngrubenvv = 'x'", "unknown key boot.grubenvv"),
        ("typo = 1", "unknown key typo"),
        ("[slots.C]\nboot = '/x'", "unknown key slots.C"),
        ("[slots.A]\nhome = '/x'", "unknown key slots.A.home"),
        ("[slots]\nwritten = ['root']", "unknown key slots.A.boot"),
        ("[slots]\nwritten = ['boot', 'root', 'verity']", "slots.A.verity has to be a device path"),
        ("[slots]\nwritten = ['boot']", "slots.written has to name root"),
        ("[slots]\nwritten = ['root', 'var']", "var is listed twice in slots.written and slots.wiped"),
        ("[slots]\nwiped = ['Var']", "'Var' is not a name for a role of slots"),
        ("[slots]\nwiped = ['version']", "'version' is not a name for a role of slots"),
        ("boot = 3", "boot has to be a table, and it is 3"),
        ("[boot]\ngrubenv = 'relative'", "boot.grubenv has to be an absolute path, and it is 'relative'"),
        ("[boot]\ntries = 0", "boot.tries has to be a number from 1 to 5, and it is 0"),
        ("[boot]\ntries = 6", "boot.tries has to be a number from 1 to 5, and it is 6"),
        ("[boot]\ntries = true", "boot.tries has to be a number from 1 to 5, and it is True"),
        ("[boot]\nreboot_command = []", "boot.reboot_command names no program"),
        ("[boot]\nreboot_command = [1]", "boot.reboot_command has to be a list of strings, and it is [1]"),
        ("[install]\nwipe_var = '16 bananas'", "install.wipe_var has to be a value such as '16MiB'"),
        ("[install]\nverify = 1", "install.verify has to be true or false, and it is 1"),
        ("[confirm]\ndeadline = '-1s'", "confirm.deadline has to be a value such as '15min'"),
        ("[confirm]\npolicy = 'never'", "confirm.policy has to be 'external' or 'automatic', and it is 'never'"),
        (
            "[slots.A]\nboot = 'sda1'",
            "slots.A.boot has to be a device path, PARTUUID=..., PARTLABEL=... or LV=group/name",
        ),
        ("[slots.A]\nroot = 'LV=hostlvm'", "slots.A.root has to be"),
        ("[slots.A]\nroot = '/dev/x'\n[slots.B]\nroot = '/dev/x'", "/dev/x is listed twice in slots"),
        ("this is no TOML", "cannot read "),
        ("profile = 'nodeos'", "profile has to be 'guestos' or 'hostos' or 'custom', and it is 'nodeos'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, said: str):
    with pytest.raises(errors.ConfigError) as caught:
        load(tmp_path, text if "profile" in text else f"profile = 'guestos'\n{text}")
    assert said in str(caught.value)
    assert caught.value.exit_code == 78


def test_a_named_file_has_to_be_there(tmp_path: Path):
    with pytest.raises(errors.ConfigError, match="there is no such file"):
        config.load(str(tmp_path / "nothing.toml"))


@pytest.mark.parametrize(
    ("value", "expected"), [("'0'", 0), ("0", 0), ("'90s'", 90), ("'15min'", 900), ("'2h'", 7200), ("'1d'", 86400)]
)
def test_durations(tmp_path: Path, value: str, expected: int):
    loaded = load(tmp_path, f"profile = 'guestos'\n[confirm]\ndeadline = {value}")
    assert loaded.confirm.deadline_s == expected


@pytest.mark.parametrize("of", ["file", "directory"])
def test_a_link_that_leads_nowhere_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str):
    """The file lies where something is not mounted; with other settings, other devices would be written."""
    place = tmp_path / "etc" / "manageboot.toml"
    monkeypatch.setattr(config, "CONFIG_PATHS", (str(place), str(tmp_path / "run.toml")))
    (tmp_path / "run.toml").write_text('profile = "hostos"\n')
    assert config.load().profile == "hostos"
    if of == "file":
        place.parent.mkdir()
        place.symlink_to("../data/manageboot.toml")
        link, target = place, "../data/manageboot.toml"
    else:
        place.parent.symlink_to(tmp_path / "data")
        link, target = place.parent, str(tmp_path / "data")
    said = f"cannot read {place}: {link} is a link to {target}, which is not there"
    for look in (config.load, lambda: config.exists(None, profile=None)):
        with pytest.raises(errors.ConfigError, match=f"^{said}$"):
            look()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manageboot.toml").write_text('profile = "guestos"\n')
    assert config.load().profile == "guestos"


def test_a_directory_that_may_not_be_entered_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    monkeypatch.setattr(config, "CONFIG_PATHS", (str(closed / "manageboot.toml"),))
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(errors.NotPermittedError, match=f"^cannot look for {closed}/manageboot.toml: "):
            config.load()
    finally:
        os.seteuid(user)


def test_what_is_no_directory_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "etc").touch()
    monkeypatch.setattr(config, "CONFIG_PATHS", (str(tmp_path / "etc" / "manageboot.toml"),))
    with pytest.raises(errors.ConfigError, match=r"cannot look for .*: Not a directory"):
        config.load()


def test_a_type_of_the_system_that_cannot_be_read_is_an_error(tmp_path: Path):
    (tmp_path / "os-type").symlink_to("nowhere")
    with pytest.raises(errors.ConfigError, match=f"cannot read {tmp_path}/os-type: .* is a link to nowhere"):
        config.load()
    (tmp_path / "os-type").unlink()
    (tmp_path / "os-type").mkdir()
    with pytest.raises(errors.ConfigError, match=f"cannot read {tmp_path}/os-type: it is not a regular file"):
        config.load()


@pytest.mark.parametrize("container", [True, False])
def test_a_machine_that_nobody_has_set_up_is_told_so(monkeypatch: pytest.MonkeyPatch, container: bool):
    monkeypatch.setattr(config, "in_container", lambda: container)
    with pytest.raises(errors.ConfigError) as caught:
        config.load()
    cause = "this container's boot is a matter of its host" if container else "nothing says which slots there are"
    assert str(caught.value).startswith("cannot find a configuration: there is no ")
    assert str(caught.value).endswith(f", and {cause}")
    pages = re.findall(r"docs/[a-z-]+\.md", caught.value.hint or "")
    assert pages
    assert all((Path(__file__).parents[2] / page).exists() for page in pages)


def test_a_file_that_is_not_there_has_a_way_to_be_made(tmp_path: Path):
    path = tmp_path / "none.toml"
    with pytest.raises(errors.ConfigError, match=f"cannot read {path}: there is no such file") as caught:
        config.load(str(path))
    assert f"`manageboot init --write-config {path}`" in str(caught.value.hint)


def test_the_documented_settings_are_those_that_are_taken(no_system: Path, monkeypatch: pytest.MonkeyPatch):
    asked = {"profile"}
    has, take = toml.Table.has, toml.Table.take

    def note(table: toml.Table, key: str) -> None:
        asked.add(f"{table.name}.ROLE" if table.name in {"slots.A", "slots.B"} else f"{table.name}.{key}")

    def noted_has(table: toml.Table, key: str) -> bool:
        note(table, key)
        return has(table, key)

    def noted_take(table: toml.Table, key: str, kind: type, meaning: str) -> object:
        note(table, key)
        return take(table, key, kind, meaning)

    monkeypatch.setattr(toml.Table, "has", noted_has)
    monkeypatch.setattr(toml.Table, "take", noted_take)
    load(no_system, SLOTS)
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    assert sorted(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE)) == sorted(asked)
