"""The report of a campaign: JSON for programs, and for a person a page that needs nothing but a browser."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from powercuts.campaign import Instant, Result, Violation
from powercuts.cuts import parse
from powercuts.realboots import Booted
from powercuts.recording import Done
from powercuts.report import JUDGE, SCHEMA, to_json, to_page

NARROW = 400
"""Of a telephone, in pixels."""


def step(name: str, what: str, first: int, end: int) -> Done:
    others = {field.name: "" for field in fields(Done)}
    return Done(**others | {"name": name, "what": what, "during": "A", "after": "A", "first": first, "end": end})


STEPS = [
    step("first boot", "the node starts", 0, 1),
    step("install v2", "v2 is written into slot B", 1, 4),
    step("switched off", "nothing is written", 4, 4),
]
INSTANTS = [
    Instant("write", "grub", 4096, 512, "A", False, 3),
    Instant("write", "B_root", 1 << 20, 65536, "A", False, 1200),
    Instant("flush", "", 0, 0, "A", False, 0),
    Instant("write", "rest", 0, 512, "", False, 31),
]
ENDS_A_SCRIPT = "nothing boots: </script><!--<script><img src=x onerror=alert(1)>"
VIOLATION = Violation(
    "shell", "3:lost:0-1,3", "install v2", [ENDS_A_SCRIPT], ["2 flush", "3 write rest at 0, 512 bytes"]
)


RESET = Violation("shell", "1:reset:all", "install v2", ["slot B boots"], ["1 write B_root at 0, 65536 bytes"])


HEALTHY = Booted("1:reset:all", "install v2", "A", False, 21.5, [])
UNHEALTHY = Booted("3:lost:0-1,3", "install v2", "B", True, 240.0, ["units have failed: var.mount, and not none"])


def result(name: str, *, violations: list[Violation], peers: bool) -> Result:
    return Result(
        name=name, title=f"a node called {name}", release="bookworm", requests=4, flushes=1, states=1234,
        cuts={"reset": 3, "lost": 1300}, asked={"grub": 7}, violations=violations, steps=STEPS, instants=INSTANTS,
        peers=peers,
    )  # fmt: skip


OURS = result("guest", violations=[], peers=False)._replace(booted=[HEALTHY, UNHEALTHY])
OTHERS = result("shell", violations=[RESET, VIOLATION], peers=True)


def report(*results: Result) -> dict[str, Any]:
    versions = {"judging GRUB": "2.06"}
    found = to_json(results, seed=1, samples=4, seconds=59.6, versions=versions)
    read: dict[str, Any] = json.loads(json.dumps(found))
    return read


class Page(HTMLParser):
    """What a browser finds in a page: its scripts, and the addresses that it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.styles: list[str] = []
        self.addresses: list[str | None] = []
        self.policy = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        referring = ("src", "srcset", "href", "xlink:href", "data", "poster", "action", "ping", "background")
        self.addresses += [found[name] for name in referring if name in found]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""
        if tag == "script":
            self.scripts.append((found, ""))
        if tag == "style":
            self.styles.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        if self.cdata_elem == "style":
            self.styles[-1] += data


def test_the_json_has_these_keys():
    found = report(OURS, OTHERS)
    assert set(found) == {
        "schema",
        "seed",
        "samples",
        "seconds",
        "versions",
        "judge",
        "states",
        "violations",
        "recordings",
    }
    assert (found["schema"], found["seed"], found["samples"], found["seconds"]) == (SCHEMA, 1, 4, 60)
    for recording in found["recordings"]:
        assert {name: type(value) for name, value in recording.items()} == {
            "name": str, "title": str, "release": str, "requests": int, "flushes": int, "states": int, "cuts": dict,
            "asked": dict, "violations": list, "booted": list, "by_step": dict, "steps": list, "instants": list,
            "peers": bool,
        }  # fmt: skip
        assert recording["instants"][1] == ["write", "B_root", 1048576, 65536, "A", False, 1200]
        assert {"name", "what", "during", "after", "first", "end"} <= set(recording["steps"][0])
    assert found["recordings"][0]["booted"][0] == {
        "cut": "1:reset:all", "step": "install v2", "slot": "A", "is_trial": False, "seconds": 21.5, "wrong": [],
    }  # fmt: skip
    assert set(found["recordings"][1]["violations"][0]) == {"recording", "cut", "step", "wrong", "around"}


def test_what_other_procedures_break_is_not_counted_as_ours():
    found = report(OURS, OTHERS)
    assert (found["states"], found["violations"]) == (1234, 0)
    broken = report(OURS, OTHERS._replace(peers=False))
    assert (broken["states"], broken["violations"]) == (2468, 2)


def test_the_label_of_a_cut_begins_with_its_request():
    # By that the page finds where a violation lies.
    assert parse(VIOLATION.cut).position == int(VIOLATION.cut.split(":")[0]) == 3
    assert parse(VIOLATION.cut).label == VIOLATION.cut


def test_data_cannot_end_the_script_that_it_is_in():
    found = report(OTHERS)
    page = Page(to_page(found))
    [(attributes, text), (code, _)] = page.scripts
    assert (attributes["type"], code) == ("application/json", {})
    assert json.loads(text) == found
    assert "x" not in page.addresses


def test_the_page_refers_to_nothing_but_itself():
    page = Page(to_page(report(OURS, OTHERS)))
    assert page.policy.startswith("default-src 'none';")
    assert [address for address in page.addresses if not (address or "").startswith("#")] == []
    code = page.scripts[-1][1] + "".join(page.styles)
    assert "function draw(" in code
    assert (
        re.findall(r"https?:|@import|url\((?!#)|\bimport\s*\(|fetch\(|XMLHttpRequest|WebSocket|sendBeacon", code) == []
    )


@pytest.fixture
def browse(tmp_path: Path):
    """Give what opens a page in a real browser, and returns the page as it is then, and what its console says."""
    if not (chromium := shutil.which("chromium")):
        pytest.skip("chromium is not installed; `make test-long` installs it")

    def open_page(page: Path) -> tuple[str, list[str]]:
        done = subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
             "--allow-file-access-from-files", "--virtual-time-budget=2000", f"--user-data-dir={tmp_path / 'profile'}",
             page.as_uri()],
            check=True, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]

    return open_page


@pytest.mark.long
def test_a_browser_shows_the_report(tmp_path: Path, browse):
    page = tmp_path / "index.html"
    page.write_text(to_page(report(OURS, OTHERS)))
    shown, console = browse(page)
    assert console == []
    assert "All rules hold in 1,234 distinct states of the disk." in shown
    # Two recordings, each of them one line of a timeline, with the steps above it.
    assert len(re.findall(r'<svg [^>]*aria-label="Timeline: first boot, install v2, switched off"', shown)) == 2
    assert shown.count('class="window-edge" x="') == 2, "the legend's, and the dangerous window of the other procedure"
    # After the reset comes a flush, which leaves what the reset leaves.
    assert "The dangerous window: requests 1 to 3." in shown
    assert html.escape(f"{JUDGE} shell {VIOLATION.cut}") in shown
    assert "1 of 2 states that were booted for real came up healthy." in shown
    assert UNHEALTHY.wrong[0] in shown
    assert html.escape(ENDS_A_SCRIPT) in shown


@pytest.mark.long
def test_a_browser_tells_of_an_error_in_the_page(tmp_path: Path, browse):
    page = tmp_path / "index.html"
    page.write_text(to_page(report(OURS)).replace('"recordings":', '"records":'))
    assert [line for line in browse(page)[1] if "Uncaught TypeError" in line]


@pytest.mark.long
def test_the_page_fits_a_telephone(tmp_path: Path, browse):
    (tmp_path / "index.html").write_text(to_page(report(OURS, OTHERS)))
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe id="frame" style="width: {NARROW}px; height: 800px; border: 0" src="index.html"></iframe><script>'
        "frame.onload = () => { const page = frame.contentDocument.documentElement;"
        " document.title = `${page.scrollWidth - page.clientWidth} px too wide`; };</script>"
    )
    assert "<title>0 px too wide</title>" in browse(frame)[0]
