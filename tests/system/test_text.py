"""Bytes that are no text, and text that breaks lines: wherever it goes, it can be taken, and stays one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from manageboot.system import text
from support.daemonnode import DaemonNode, running

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NO_UTF8 = os.fsdecode(b"pr\xfcfung")


@pytest.mark.parametrize(
    ("content", "said"), [(b"gr\xc3\xb6\xc3\x9fe", "größe"), (b"a\xffb", r"a\xffb"), (b"\xed\xa0\x80", r"\xed\xa0\x80")]
)
def test_bytes_become_text(content: bytes, said: str):
    assert text.decode(content) == said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("größe \N{GRINNING FACE}", "größe \N{GRINNING FACE}"),
        (NO_UTF8, r"pr\xfcfung"),
        ("a\nb\r\x1b[2J\x00\x7f\x85", r"a\x0ab\x0d\x1b[2J\x00\x7f\x85"),
        ("a\u2028b\u202ec", r"a\u2028b\u202ec"),
        ("\ud800", r"\ud800"),
    ],
)
def test_text_becomes_a_line_that_everybody_takes(given: str, said: str):
    assert text.one_line(given) == said
    assert said.encode()


def test_whatever_breaks_a_line_is_escaped_alone_too():
    ranges = [(0, 0x20), (0x7F, 0xA0), (0x2028, 0x202F), (0x2066, 0x206A), (0xD800, 0xE000)]
    breaking = {chr(code) for first, end in ranges for code in range(first, end)}
    assert {one for one in map(chr, range(0x110000)) if text.one_line(one) != one} == breaking


def test_lines_are_joined_or_stay():
    assert text.joined(f"a\n{NO_UTF8}\tb\n") == r"a / pr\xfcfung\x09b"
    assert text.encodable(f"a\n{NO_UTF8}\tb\n") == "a\npr\\xfcfung\tb\n"


def test_json_has_no_half_of_a_pair():
    value = {NO_UTF8: [NO_UTF8, ("\ud800", 1, None, True)]}
    assert text.encodable_all(value) == {r"pr\xfcfung": [r"pr\xfcfung", [r"\ud800", 1, None, True]]}


@pytest.mark.grub
@pytest.mark.parametrize("variables", [{}, ASCII])
def test_a_check_may_have_any_name_and_print_anything(tmp_path: Path, variables: dict[str, str]):
    node = DaemonNode(tmp_path)
    node.configure(policy="external")
    node.add_check(f"wanted/1 {NO_UTF8}\nREADY=0", r"printf 'no \377\n<0>fake\033[2J'; exit 1")
    node.start_trial()
    shown = r"wanted/1 pr\xfcfung\x0aREADY=0"
    with running(node, **variables) as daemon:
        daemon.wait_for(lambda: "health_warning" in node.events(), "the warning")
        assert all(notice.partition("=")[0] in {"READY", "STATUS", "WATCHDOG"} for notice in daemon.notices)
        assert "READY=0" not in daemon.notices
        [check] = [one for one in node.status()["daemon"]["health"]["checks"] if not one["required"]]
        assert (check["name"], check["result"]) == (shown, "failed")
        daemon.stop()
        lines = daemon.log().splitlines()
    assert not any(line.startswith("<0>") or "\x1b" in line for line in lines), lines
    assert any(shown in line for line in lines), lines
    entries = json.loads(node.manageboot("history", "--json"))["entries"]
    [event] = [one for one in entries if one["event"] == "health_warning"]
    assert event["message"].startswith(rf"{shown} failed: exit status 1")


LOCALES = {
    "ascii": ASCII,
    "utf-8": {"LC_ALL": "C.UTF-8"},
    "latin-1": {"LC_ALL": "de_DE.ISO-8859-1"},
}


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a locale that is neither ASCII nor UTF-8."""
    directory = tmp_path_factory.mktemp("locales")
    command = ["localedef", "--no-archive", "-i", "de_DE", "-f", "ISO-8859-1", str(directory / "de_DE.ISO-8859-1")]
    subprocess.run(command, check=True, capture_output=True)
    return directory


@pytest.mark.parametrize("program", ["manageboot", "manageboot.icos"])
@pytest.mark.parametrize("name", LOCALES)
def test_no_locale_changes_a_name(locales: Path, tmp_path: Path, name: str, program: str):
    directory = tmp_path / "größe"
    directory.mkdir()
    (directory / "cmdline").write_text("dfinity.system=A\n")
    (directory / "grubenv").write_bytes(b"# GRUB Environment Block\nboot_alternative=B\n".ljust(1024, b"#"))
    slots = "".join(f'[slots.{slot}]\nboot = "/dev/ü{slot}1"\nroot = "/dev/ü{slot}2"\n' for slot in "AB")
    settings = tmp_path / "c.toml"
    settings.write_text(
        f'profile = "custom"\n[boot]\ngrubenv = "{directory}/grubenv"\ncmdline = "{directory}/cmdline"\n{slots}'
    )
    environment = {**os.environ, **LOCALES[name], "LOCPATH": str(locales)}
    questions = {
        "manageboot": (["-c", str(settings), "next"], ["-c", str(settings), "current-root"]),
        "manageboot.icos": (["-f", f"{directory}/grubenv", "guestos", "next"],),
    }
    for arguments, answer in zip(questions[program], ("B\n", "/dev/üA2\n"), strict=False):
        command = [sys.executable, "-m", program, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert (done.returncode, done.stdout.decode(), done.stderr) == (0, answer, b"")
