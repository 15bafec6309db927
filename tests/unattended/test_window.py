"""The maintenance window, as systemd's own calendar tells it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from manageboot import config, errors
from manageboot.config import Config
from manageboot.unattended import window

SLOTS = "".join(f'[slots.{slot}]\nboot = "/dev/{slot}1"\nroot = "/dev/{slot}2"\n' for slot in "AB")


def settings(directory: Path, expression: str | None, duration: str = "2h") -> Config:
    path = directory / "manageboot.toml"
    told = "" if expression is None else f'window = "{expression}"\n'
    path.write_text(f'[channel]\n{told}window_duration = "{duration}"\n{SLOTS}')
    return config.load(str(path))


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("expression", "duration", "now", "opens", "is_open"),
    [
        # A Friday.
        ("Sat,Sun 02:00 UTC", "2h", "2026-11-28T01:59:59", "2026-11-28T02:00:00", False),
        ("Sat,Sun 02:00 UTC", "2h", "2026-11-28T02:00:00", "2026-11-28T02:00:00", True),
        ("Sat,Sun 02:00 UTC", "2h", "2026-11-28T03:59:59", "2026-11-28T02:00:00", True),
        ("Sat,Sun 02:00 UTC", "2h", "2026-11-28T04:00:00", "2026-11-29T02:00:00", False),
        # Over midnight.
        ("*-*-* 23:30 UTC", "90min", "2026-11-28T00:59:59", "2026-11-27T23:30:00", True),
        # In another zone, in which a day without that hour has no window.
        ("*-*-* 02:30 Europe/Zurich", "2h", "2027-03-28T00:30:00", "2027-03-29T00:30:00", False),
        # Always.
        ("hourly", "1h", "2026-11-27T05:17:31", "2026-11-27T05:00:00", True),
        # A clock at 1970, and one that is far ahead.
        ("Sat,Sun 02:00 UTC", "2h", "1970-01-01T00:10:00", "1970-01-03T02:00:00", False),
        ("Sat,Sun 02:00 UTC", "2h", "2100-01-01T00:00:00", "2100-01-02T02:00:00", False),
    ],
)
def test_a_window(tmp_path: Path, expression: str, duration: str, now: str, opens: str, is_open: bool):
    found = window.find(settings(tmp_path, expression, duration), at(now))
    lasts = {"2h": 7200, "90min": 5400, "1h": 3600}[duration]
    assert found == (at(opens), at(opens) + lasts)
    assert found.goes_on(at(now)) == is_open
    assert not found.goes_on(at(opens) - 1) and not found.goes_on(at(opens) + lasts)


@pytest.mark.parametrize("zone", ["Africa/Abidjan", "Pacific/Kiritimati"])
def test_the_zone_of_the_node_is_in_what_systemd_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str):
    """The tool writes one line or two, with the zone's own name or UTC."""
    monkeypatch.setattr("manageboot.system.process._ENVIRONMENT", ("TZ",))
    monkeypatch.setenv("TZ", zone)
    found = window.find(settings(tmp_path, "Sat 02:00 UTC"), at("2026-11-27T05:00:00"))
    assert found == (at("2026-11-28T02:00:00"), at("2026-11-28T04:00:00"))


def test_a_window_that_is_over_for_good_never_opens(tmp_path: Path):
    found = window.find(settings(tmp_path, "2020-01-01"), at("2026-11-27T05:00:00"))
    assert found == (None, None)
    assert not found.goes_on(at("2020-01-01T00:00:00"))


def test_without_one_there_is_none(tmp_path: Path):
    assert window.find(settings(tmp_path, None), 0) is None


def test_what_systemd_does_not_take_is_an_error_of_the_configuration(tmp_path: Path):
    with pytest.raises(errors.ConfigError, match=r"^cannot use channel\.window 'Caturday': .* Failed to parse"):
        window.find(settings(tmp_path, "Caturday"), 0)


@pytest.mark.parametrize("text", ["", "--root=/", "a;b", "x" * 201, "02:00\n", " 02:00", "$(id)"])
def test_what_can_be_no_expression_gets_to_no_program(tmp_path: Path, text: str):
    path = tmp_path / "manageboot.toml"
    path.write_text(f"[channel]\nwindow = {text!r}\n{SLOTS}".replace("'", '"'))
    with pytest.raises(errors.ConfigError, match=r"channel\.window has to be a calendar expression"):
        config.load(str(path))


def test_a_time_is_written_for_a_person():
    assert window.minute(at("2026-11-28T02:00:00")) == "2026-11-28 02:00 UTC"
