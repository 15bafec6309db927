"""The site that `make docs` builds: without a warning, without a network, and readable on a phone."""

import re
import subprocess

import pytest

from documents import screenshots
from documents.pages import ROOT
from documents.screenshots import SITE

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", autouse=True)
def _site() -> None:
    # A warning ends it with an error.
    done = subprocess.run(["make", "docs"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def test_it_asks_nobody_else():
    """No font, script, style or picture comes from elsewhere; a link that a reader follows may."""
    asked = []
    for page in SITE.rglob("*.html"):
        asked += re.findall(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="((?:https?:)?//[^"]+)"', page.read_text())
    for style in SITE.rglob("*.css"):
        asked += re.findall(r"(?:@import|url\()[\s\"']*((?:https?:)?//[^\"')]+)", style.read_text())
    assert asked == []


def test_no_page_is_wider_than_a_phone():
    pages = sorted(SITE.glob("*.html"))
    assert len(pages) > 25
    assert {page.name: width for page in pages if (width := screenshots.width_of(page, 400)) > 400} == {}
