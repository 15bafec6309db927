"""What is done beside the work fails, in every way that there is; and the work is done."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from manageboot import config, errors
from manageboot.daemon import devicewatch, notify
from manageboot.disk import devices
from manageboot.events import events, history, journal, metrics
from manageboot.events.journal import Event
from manageboot.install import progress
from manageboot.install.progressfile import ProgressFile
from manageboot.protocol import Slot
from manageboot.system import beside

FAILURES = [
    ValueError("Invalid label name: 'written_dt-b'"),
    UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
    KeyError("missing"),
    MemoryError(),
    RuntimeError("can't start new thread"),
    RecursionError(),
    OSError(24, "Too many open files"),
    errors.CreateError("cannot write it: it is full"),
]


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(beside, "_told", set())


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_arguments: object, **_more: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_failure_is_told_once(error: Exception, caplog: pytest.LogCaptureFixture):
    for _ in range(3):
        with beside.beside("the metrics may be behind"):
            raise error
    [record] = caplog.records
    assert record.getMessage().startswith("the metrics may be behind: ")


def test_causes_that_are_always_others_do_not_fill_the_log(caplog: pytest.LogCaptureFixture):
    for number in range(1000):
        with beside.beside("the metrics may be behind"):
            raise ValueError(number)
    assert len(caplog.records) == 50


def test_a_signal_still_ends_the_run():
    with pytest.raises(KeyboardInterrupt), beside.beside("nothing"):
        raise KeyboardInterrupt


def test_whoever_is_told_may_fail_as_well(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logging.Logger, "warning", failing(RuntimeError()))
    with beside.beside("the metrics may be behind"):
        raise ValueError


@pytest.fixture
def settings(tmp_path: Path) -> config.Config:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / "grubenv").write_bytes(b"# GRUB Environment Block\n".ljust(1024, b"#"))
    (tmp_path / "cmdline").write_text("dfinity.system=A\n")
    loaded = config.load(profile="hostos", grubenv=str(tmp_path / "boot" / "grubenv"))
    return loaded._replace(
        boot=loaded.boot._replace(cmdline=str(tmp_path / "cmdline")),
        state=loaded.state._replace(lock=str(tmp_path / "lock"), directory=str(tmp_path / "state")),
        metrics=config.MetricsConfig(str(tmp_path / "metrics")),
    )


PARTS = [
    (history, "append"),
    (history, "read"),
    (history, "as_stored"),
    (metrics, "wanted"),
    (metrics, "write"),
    (metrics, "write_devices"),
    (metrics, "write_image"),
    (journal, "joined"),
    (events, "observe"),
    (events, "now"),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("module", "name"), PARTS, ids=lambda part: getattr(part, "__name__", part))
def test_nothing_that_is_told_fails_a_verb(
    module: object, name: str, error: Exception, settings: config.Config, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, name, failing(error))
    events.announce(settings, Event.INSTALLED, "Slot B holds version 2", slot=Slot.B, version="2")
    events.announce(settings, Event.DEVICE_LOST, "slots.A.root: gone", slot=Slot.A)
    events.refresh(settings)
    events.show_devices(settings, {"slots.A.root": "gone"})
    events.image_written(settings, "root", "/dev/sda5")
    journal.log("a line", name="test")
    if name not in {"append", "read"}:
        return
    # What one part can't tell the others do.
    assert (Path(settings.metrics.directory) / "manageboot.prom").exists()


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_neither_bar_nor_file_nor_notice_stops_the_work(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setattr(notify, "_receiver", failing(error))
    notify.ready()
    notify.status("busy")
    monkeypatch.setattr(progress.console, "show", failing(error))
    monkeypatch.setattr(ProgressFile, "update", failing(error))
    for style in ("bar", "json"):
        with progress.step("write", 100, style, ProgressFile(str(tmp_path))) as meter:
            meter.update(progress.Counts(done=100))


def test_devices_that_can_not_be_looked_at_end_no_daemon(monkeypatch: pytest.MonkeyPatch):
    watch = devicewatch.DeviceWatch({Slot.A: {"root": "PARTLABEL=root"}}, {})
    monkeypatch.setattr(devices, "find", failing(FileNotFoundError(2, "No such file or directory")))
    assert [watch.look(now_s) for now_s in (0.0, 100.0)] == [{}, {}]
