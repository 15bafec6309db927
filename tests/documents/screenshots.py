"""Pictures of the site at the widths of a desk and of a phone, by a real browser: `python -m documents.screenshots`."""

import subprocess
import sys
import tempfile
from pathlib import Path

from documents.pages import ROOT

SITE = ROOT / "build" / "docs" / "site"
WIDTHS = (1280, 400)
PAGES = ("index.html", "start.html", "concepts.html", "command-line.html")
HEIGHT = 1400

IN_THE_README = ROOT / "docs" / "site.png"


def shoot(page: Path, picture: Path, width: int, height: int = HEIGHT) -> None:
    """Make a picture of a page; headless Chromium has no window below 500 pixels, so a frame has the width."""
    with tempfile.TemporaryDirectory() as scratch:
        frame = Path(scratch, "frame.html")
        style = f"border:0;width:{width}px;height:{height}px"
        frame.write_text(f'<body style="margin:0"><iframe src="{page.as_uri()}" style="{style}"></iframe>')
        browse(f"--screenshot={picture}", f"--window-size={max(width, 500)},{height}", frame.as_uri())


def width_of(page: Path, width: int) -> int:
    """Give the width in pixels that a page takes in a window of some width; more: it has to be scrolled sideways."""
    with tempfile.TemporaryDirectory() as scratch:
        frame = Path(scratch, "frame.html")
        ask = "document.title = this.contentDocument.documentElement.scrollWidth"
        frame.write_text(f'<iframe src="{page.as_uri()}" style="border:0;width:{width}px" onload="{ask}"></iframe>')
        dom = browse("--dump-dom", frame.as_uri())
    return int(dom.partition("<title>")[2].partition("</title>")[0])


def browse(*arguments: str) -> str:
    """Run the browser, without a network; give what it printed."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
        ]
        command += [
            f"--user-data-dir={profile}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--allow-file-access-from-files",
        ]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True, timeout=240)
    return done.stdout


def main() -> int:
    """Write the pictures."""
    directory = ROOT / "build" / "docs" / "pictures"
    directory.mkdir(parents=True, exist_ok=True)
    for name in PAGES:
        for width in WIDTHS:
            picture = directory / f"{Path(name).stem}-{width}.png"
            shoot(SITE / name, picture, width)
            print(picture)
    shoot(SITE / "index.html", IN_THE_README, WIDTHS[0], 900)
    return 0


if __name__ == "__main__":
    sys.exit(main())
