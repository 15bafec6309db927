"""Metrics: the names that IC-OS's dashboards know, ours, and that they never get in the way."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from manageboot import config
from manageboot.config import Config
from manageboot.events import events, history, metrics
from manageboot.events.events import Event
from manageboot.events.history import Entry
from manageboot.protocol import Slot
from support.images import make_update
from support.node import LoopNode

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(directory: Path, name: str) -> Samples:
    found = {}
    for family in text_string_to_metric_families((directory / f"{name}.prom").read_text()):
        assert (family.type, bool(family.documentation)) == ("gauge", True)
        found |= {(one.name, tuple(sorted(one.labels.items()))): one.value for one in family.samples}
    return found


def chosen(directory: Path, name: str, label: str) -> list[str]:
    """Which of the values of a label has the 1."""
    return [
        dict(labels)[label]
        for (metric, labels), value in samples(directory, "manageboot").items()
        if metric == name and value == 1
    ]


def value(directory: Path, name: str, **labels: str) -> float | None:
    return samples(directory, "manageboot").get((name, tuple(sorted(labels.items()))))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "collector"
    made.mkdir()
    return made


@pytest.fixture
def settings(tmp_path: Path, directory: Path) -> Config:
    """The profile guestos on a machine whose block and kernel command line are files."""
    (tmp_path / "grub").mkdir()
    (tmp_path / "grub" / "grub.cfg").touch()
    block = tmp_path / "grub" / "grubenv"
    block.write_bytes(b"# GRUB Environment Block\nboot_alternative=B\nboot_cycle=stable\n".ljust(1024, b"#"))
    (tmp_path / "cmdline").write_text("dfinity.system=B\n")
    loaded = config.load(profile="guestos", grubenv=str(block))
    return loaded._replace(
        boot=loaded.boot._replace(cmdline=str(tmp_path / "cmdline")),
        state=loaded.state._replace(lock=str(tmp_path / "run" / "lock"), directory=str(tmp_path / "state")),
        metrics=config.MetricsConfig(str(directory)),
    )


def announce(settings: Config, event: Event, **more: object) -> None:
    events.announce(settings, event, "It happened", slot=Slot.B, **more)


@pytest.mark.devices
@pytest.mark.parametrize("system", ["guestos", "hostos"])
def test_the_metrics_of_ic_os(node: LoopNode, directory: Path, tmp_path: Path, system: str):
    node.config.write_text(node.config.read_text() + f'[metrics]\ndirectory = "{directory}"\n')

    def shown() -> tuple[float, Samples]:
        stable = samples(directory, f"{system}_boot_stable")
        assert list(stable) == [(f"{system}_boot_stable", ())]
        action = samples(directory, f"{system}_boot_action")
        assert {name for name, _ in action} == {f"{system}_boot_action"}
        return stable[f"{system}_boot_stable", ()], {labels: one for (_, labels), one in action.items()}

    node.ok(system, "upgrade-install", make_update(tmp_path / "update"))
    assert shown() == (1, {(("written_var", "true"),): 1})
    node.ok(system, "upgrade-commit", "--no-reboot")
    assert shown() == (0, {(("committed", "true"),): 1})
    node.boot()
    loaded = config.load(str(node.config), profile=system)
    events.announce(loaded, Event.TRIAL_STARTED, "Slot B is on trial", slot=Slot.B)
    assert shown() == (0, {(("next_boot", "A"), ("version", "unknown")): 2})
    node.ok(system, "confirm")
    assert shown() == (1, {(("confirm_boot", node.devices["B"]["boot"]), ("version", "unknown")): 1})
    expected = [f"{system}_boot_action.prom", f"{system}_boot_stable.prom", "manageboot.prom"]
    assert sorted(path.name for path in directory.iterdir()) == sorted(expected)


@pytest.mark.parametrize("part", ["boot", "root"])
def test_an_image_that_is_written_shows_as_in_ic_os(settings: Config, directory: Path, part: str):
    events.image_written(settings, part, "/dev/vda4")
    label = ((f"written_{part}", "/dev/vda4"),)
    assert samples(directory, "guestos_boot_action") == {("guestos_boot_action", label): 1}


@pytest.mark.devices
def test_ours_tell_of_a_whole_upgrade(node: LoopNode, directory: Path, tmp_path: Path):
    node.config.write_text(node.config.read_text() + f'[metrics]\ndirectory = "{directory}"\n')
    node.ok("upgrade-install", make_update(tmp_path / "update"))
    written = value(directory, "manageboot_last_install_written_bytes")
    assert written is not None
    assert written > 1 << 20
    took = value(directory, "manageboot_last_install_duration_seconds")
    assert took is not None
    assert took > 0
    assert chosen(directory, "manageboot_state", "state") == ["idle"]
    node.ok("upgrade-commit", "--no-reboot")
    assert chosen(directory, "manageboot_state", "state") == ["pending"]
    assert chosen(directory, "manageboot_booted_slot", "slot") == ["A"]
    node.boot()
    events.refresh(config.load(str(node.config)))
    assert chosen(directory, "manageboot_state", "state") == ["trial"]
    assert chosen(directory, "manageboot_booted_slot", "slot") == ["B"]
    node.ok("confirm")
    assert chosen(directory, "manageboot_state", "state") == ["idle"]
    since_boot = float(Path("/proc/uptime").read_text().split()[0])
    seconds = value(directory, "manageboot_boot_to_confirm_seconds")
    assert seconds is not None
    assert 0 < seconds <= since_boot + 1
    assert value(directory, "manageboot_last_install_written_bytes") == written
    # What dashboards of IC-OS would read has no place on another system.
    assert [path.name for path in directory.iterdir()] == ["manageboot.prom"]


def test_the_metrics_come_back_after_a_reboot(settings: Config, directory: Path):
    announce(settings, Event.INSTALLED, seconds=12.5, written_bytes=7)
    announce(settings, Event.FALLBACK, cause="deadline")
    before = samples(directory, "manageboot")
    for path in directory.iterdir():
        path.unlink()
    events.refresh(settings)
    assert samples(directory, "manageboot") == before
    assert before["manageboot_last_install_duration_seconds", ()] == 12.5


def test_fallbacks_are_counted_by_their_cause(settings: Config, directory: Path):
    events.refresh(settings)
    assert value(directory, "manageboot_fallbacks", cause="deadline") == 0
    for cause in ("deadline", "unloadable", "deadline", "of-a-newer-version"):
        announce(settings, Event.FALLBACK, cause=cause)
    counted = {
        dict(labels)["cause"]: count
        for (name, labels), count in samples(directory, "manageboot").items()
        if name == "manageboot_fallbacks" and count
    }
    assert counted == {"deadline": 2, "unloadable": 1, "of-a-newer-version": 1}


def test_a_clock_that_is_set_back_does_not_change_which_was_the_last(settings: Config, directory: Path):
    for time, took in (("2026-11-24T00:00:00+00:00", 1.0), ("2025-11-24T00:00:00+00:00", 2.0)):
        history.append(settings, Entry(time, "installed", "B", "It happened", seconds=took))
    events.refresh(settings)
    assert value(directory, "manageboot_last_install_duration_seconds") == 2
    assert value(directory, "manageboot_last_install_timestamp_seconds") == 1763942400


@pytest.mark.parametrize(
    ("content", "state", "condition"),
    [
        (None, "conflict", "absent"),
        (b"", "conflict", "empty"),
        (b"garbage", "unreadable", "damaged"),
        (b"# GRUB Environment Block\nboot_alternative=B\nboot_cycle=failsafe_check\n", "trial", "ok"),
    ],
)
def test_the_health_of_the_block(settings: Config, directory: Path, content: bytes | None, state: str, condition: str):
    block = Path(settings.boot.grubenv)
    if content is None:
        block.unlink()
    else:
        block.write_bytes(content.ljust(1024, b"#") if content else b"")
    events.refresh(settings)
    assert chosen(directory, "manageboot_state", "state") == [state]
    assert chosen(directory, "manageboot_environment_block", "condition") == [condition]


def test_a_node_that_cannot_be_looked_at_has_metrics_too(settings: Config, directory: Path):
    Path(settings.boot.cmdline).write_text("quiet\n")
    announce(settings, Event.INSTALL_FAILED)
    assert chosen(directory, "manageboot_state", "state") == ["unreadable"]
    assert chosen(directory, "manageboot_booted_slot", "slot") == []
    assert samples(directory, "guestos_boot_stable") == {("guestos_boot_stable", ()): 0}


def test_devices_are_shown_as_the_daemon_sees_them(settings: Config, directory: Path):
    events.show_devices(settings, {"slots.B.root": "/dev/vda8: it is gone"})
    announce(settings, Event.DEVICE_LOST)
    shown = samples(directory, "manageboot_devices")
    assert len(shown) == 6
    lost = [labels for (_, labels), one in shown.items() if one == 0]
    assert lost == [(("role", "root"), ("slot", "B"))]


def test_all_may_read_them_whatever_the_umask(settings: Config, directory: Path):
    old = os.umask(0o077)
    try:
        announce(settings, Event.CONFIRMED)
    finally:
        os.umask(old)
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o644}


def test_what_a_kill_left_behind_is_replaced_and_a_link_is_not_followed(
    settings: Config, directory: Path, tmp_path: Path
):
    (tmp_path / "victim").write_text("mine\n")
    (directory / "manageboot.prom.new").symlink_to(tmp_path / "victim")
    (directory / "guestos_boot_stable.prom.new").write_text("half a li")
    (directory / "manageboot.prom").symlink_to(tmp_path / "victim")
    events.refresh(settings)
    assert (tmp_path / "victim").read_text() == "mine\n"
    assert not (directory / "manageboot.prom").is_symlink()
    assert not list(directory.glob("*.new"))


def test_where_nobody_collects_nothing_is_made_and_nothing_imported(settings: Config, directory: Path):
    directory.rmdir()
    code = """if True:
        import sys
        from manageboot import config
        from manageboot.events import events
        from manageboot.protocol import Slot
        loaded = config.load(profile="guestos", grubenv=sys.argv[1])
        loaded = loaded._replace(
            state=loaded.state._replace(lock=sys.argv[2]), metrics=config.MetricsConfig(sys.argv[3])
        )
        events.announce(loaded, events.Event.CONFIRMED, "It happened", slot=Slot.A)
        events.refresh(loaded)
        events.show_devices(loaded, {})
        print("prometheus_client" in sys.modules)
    """
    command = [sys.executable, "-c", code, settings.boot.grubenv, settings.state.lock, str(directory)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False\n", "")
    assert not directory.exists()


@pytest.mark.devices
def test_queries_write_none(node: LoopNode, directory: Path):
    node.config.write_text(node.config.read_text() + f'[metrics]\ndirectory = "{directory}"\n')
    for verb in ("current", "target", "next", "status", "doctor", "history"):
        node.run(verb)
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("broken", ["no library", "a directory in the way"])
def test_metrics_that_cannot_be_written_are_a_warning(
    settings: Config,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: str,
):
    with caplog.at_level(logging.WARNING), monkeypatch.context() as patch:
        if broken == "no library":
            patch.setitem(sys.modules, "prometheus_client", None)
        else:
            (directory / "guestos_boot_stable.prom").mkdir()
        announce(settings, Event.CONFIRMED)
    [warning] = [record.getMessage() for record in caplog.records]
    assert f"cannot write {directory}/guestos_boot_stable.prom: " in warning
    assert [entry.event for entry in history.read(settings).entries] == ["confirmed"]


def test_without_a_history_the_metrics_are_written_all_the_same(
    settings: Config, directory: Path, caplog: pytest.LogCaptureFixture
):
    Path(history.path_of(settings)).mkdir()
    announce(settings, Event.FALLBACK, cause="deadline")
    assert value(directory, "manageboot_fallbacks", cause="deadline") == 1
    assert "cannot read" in caplog.text or "cannot use" in caplog.text


def test_a_directory_that_is_none_is_as_a_missing_one(settings: Config, tmp_path: Path):
    (tmp_path / "file").touch()
    assert not metrics.wanted(settings._replace(metrics=config.MetricsConfig(str(tmp_path / "file"))))


def test_a_role_that_is_no_name_of_a_label_is_measured(settings: Config, directory: Path):
    """Older versions of the library take no hyphen, and newer ones write an underscore by themselves."""
    events.image_written(settings, "dt-b", "/dev/vda4")
    assert '{written_dt_b="/dev/vda4"} 1.0' in (directory / "guestos_boot_action.prom").read_text()


def test_a_word_that_is_no_text_is_measured(settings: Config, directory: Path):
    announce(settings, Event.FALLBACK, cause="\udcff")
    assert r'cause="\\xff"' in (directory / "manageboot.prom").read_text()
