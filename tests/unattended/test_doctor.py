"""What `doctor` misses where the timer is enabled, and that it asks for nothing where it is not."""

from pathlib import Path

import pytest

from manageboot import config
from manageboot.config import Config
from manageboot.report import updating

SLOTS = "".join(f'[slots.{slot}]\nboot = "/dev/{slot}1"\nroot = "/dev/{slot}2"\n' for slot in "AB")
WHOLE = 'mirrors = ["/srv/releases"]\nroot = "/usr/share/manageboot/root.json"\n'
WINDOW = 'unattended = "commit"\nwindow = "Sat 02:00"\n'


@pytest.fixture
def enabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    timer = tmp_path / "units" / "timers.target.wants" / updating.TIMER
    timer.parent.mkdir(parents=True)
    timer.symlink_to("/usr/lib/systemd/system/manageboot-update.timer")
    monkeypatch.setattr(updating, "UNITS", (str(tmp_path / "units"),))
    return timer


def settings(directory: Path, channel: str) -> Config:
    path = directory / "manageboot.toml"
    path.write_text(f"[channel]\n{channel}\n{SLOTS}")
    return config.load(str(path))


@pytest.mark.parametrize(
    ("channel", "misses"),
    [
        (WHOLE, []),
        (WHOLE + WINDOW, []),
        ("", ["channel.mirrors", "channel.root"]),
        (WHOLE + 'policy = "named"', ["channel.policy"]),
        (WHOLE + 'unattended = "commit"', ["does not say when the node may reboot"]),
        (WHOLE + 'unattended = "commit"\nwindow = "2020-01-01"', ["never opens"]),
        (WHOLE + 'unattended = "commit"\nwindow = "Caturday"', ["cannot use channel.window"]),
        (WHOLE + WINDOW + 'window_duration = "59min"', ["channel.window_duration"]),
    ],
)
def test_what_is_missing(tmp_path: Path, enabled: Path, channel: str, misses: list[str]):
    found = list(updating.missing(settings(tmp_path, channel)))
    assert len(found) == len(misses)
    assert all(word in text for word, text in zip(misses, found, strict=True)), found


def test_where_the_timer_is_off_nothing_is_missing(tmp_path: Path, enabled: Path):
    enabled.unlink()
    assert list(updating.missing(settings(tmp_path, ""))) == []


def test_without_the_library_for_signatures_there_is_no_update(
    tmp_path: Path, enabled: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert list(updating.missing(settings(tmp_path, WHOLE))) == [
        "python-tuf, which verifies signatures, is not installed"
    ]
