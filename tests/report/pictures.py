"""`make pictures`: what `status` shows on a terminal of 80 columns, as pictures for the documents.

The node has its slots on loop devices, and each picture is what the program printed there.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from html import escape
from pathlib import Path

from support import hostile, mounts
from support.hostile import Hostile
from support.images import MIB, make_image, make_update, pack
from support.loop import run
from support.node import LoopNode

COLUMNS, LINES = 80, 40
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"

_CHARACTER_WIDTH, _LINE_HEIGHT, _MARGIN = 8.4, 19, 14
_STYLES = {"1": 'font-weight="bold"', "2": 'fill="#8b949e"', "31": 'fill="#ff7b72"', "32": 'fill="#7ee787"',
           "33": 'fill="#e3b341"'}  # fmt: skip
_PART = re.compile(r"\x1b\[(\d+)m(.*?)\x1b\[0m|([^\x1b]+)")


def printed(command: list[str]) -> str:
    """What a command prints on a terminal, styles included."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        output = b"".join(_chunks(leader))
    os.close(leader)
    assert process.returncode in {0, 78}, output
    return output.decode().replace("\r\n", "\n")


def drawn(output: str, command: str) -> str:
    """An SVG of a terminal that shows a command and its output."""
    lines = [f"# {command}", *output.rstrip("\n").split("\n")]
    width, height = COLUMNS * _CHARACTER_WIDTH + 2 * _MARGIN, len(lines) * _LINE_HEIGHT + 2 * _MARGIN
    texts = [
        f'<text x="{_MARGIN}" y="{_MARGIN + 14 + number * _LINE_HEIGHT}" xml:space="preserve">{_spans(line)}</text>'
        for number, line in enumerate(lines)
    ]
    font = "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace"
    size = f'width="{width:.0f}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{font}" font-size="14" fill="#e6edf3">'
    behind = '<rect width="100%" height="100%" rx="8" fill="#0d1117"/>'
    return "\n".join([head, f"<title>{escape(command)}</title>", behind, *texts, "</svg>", ""])


def taken(node: LoopNode, directory: Path) -> Iterator[tuple[str, str]]:
    """Walk through an upgrade, and give a name and what `status` prints for each state."""

    def status() -> str:
        return printed(node.command("status"))

    first, second = (made(directory / name, name.removeprefix("update-img-"))
                     for name in ("update-img-0.1.0-v2", "update-img-0.1.0-v3"))  # fmt: skip
    node.ok("upgrade-install", first)
    node.ok("upgrade-commit", "--no-reboot")
    node.boot()
    yield "trial", status()
    node.ok("confirm")
    yield "idle", status()
    # A server says how long it is, and can be made to wait.
    content = second.read_bytes()
    with Hostile(hostile.stall(len(content) * 3 // 5), hostile.honest, content=content) as server:
        node.write_config(channel="stall = 10")
        command = node.command("upgrade-install", f"{server.url}{second.name}", "--progress", "none")
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as installing:
            while (node.status()["progress"] or {"bytes_done": 0})["bytes_done"] < len(content) // 2:
                assert installing.poll() is None
            yield "installing", status()
        assert installing.returncode == 0
    node.ok("upgrade-commit", "--no-reboot")
    node.boot()
    node.boot()
    yield "fallback", status()


def made(directory: Path, version: str) -> Path:
    """Make an update image that has no holes, so that it takes the time of its size."""
    make_update(directory, version=version, boot_size=4 * MIB)
    make_image(directory / "root.img", 11 * MIB, seed=len(version), density=4)
    return pack(directory, "boot.img", "root.img", "VERSION.TXT")


def put_block(node: LoopNode) -> None:
    """Let the block of a node be where a node has it, for this process alone."""
    mounts.have_own_mounts()
    run("mount", "-t", "tmpfs", "none", "/boot")
    grub = Path("/boot/grub")
    grub.mkdir()
    run("mount", "--bind", node.grubenv.parent, grub)
    node.grubenv = grub / node.grubenv.name
    node.write_config()


def main() -> None:
    """Make all pictures anew."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="node") as name, LoopNode(Path(name)) as node:
        put_block(node)
        for state, output in taken(node, Path(name)):
            (PICTURES / f"status-{state}.svg").write_text(drawn(output, "manageboot status"))
            print(f"{state}:\n{output}")


def _chunks(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(descriptor, 1 << 16)
        except OSError:  # the other end is closed
            return
        if not chunk:
            return
        yield chunk


def _spans(line: str) -> str:
    return "".join(
        f"<tspan {_STYLES[style]}>{escape(styled)}</tspan>" if style else escape(plain)
        for style, styled, plain in _PART.findall(line)
    )


if __name__ == "__main__":
    sys.exit(main())
