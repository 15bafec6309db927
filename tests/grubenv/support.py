"""Blocks to test with, and GRUB's own tools to ask."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import strategies as st

from grubenv import SIGNATURE
from tests.grubenv.blocks import WARNING

NAMES = st.text(st.sampled_from("abcxyz_0 .-+\\ü\udcff\r"), min_size=1, max_size=12)
"""Names that a block can hold, odd ones included."""
VALUES = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"\\"))
PLAIN_NAMES = st.sampled_from(["boot_alternative", "boot_cycle", "saved_entry", "n", "v1", "longer_name_of_something"])
"""Names that can stand in a GRUB script."""


def text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def raw(string: str) -> bytes:
    return string.encode("utf-8", "surrogateescape")


def escape(value: bytes) -> bytes:
    return value.replace(b"\\", b"\\\\").replace(b"\n", b"\\\n")


@st.composite
def oddly_escaped(draw: st.DrawFn) -> bytes:
    """A value as it may stand in a line: some bytes escaped that need not be."""
    value = draw(VALUES)
    chosen = draw(st.sets(st.integers(0, 40), max_size=3))
    return b"".join(
        b"\\" + value[i : i + 1] if i in chosen or value[i] in b"\\\n" else value[i : i + 1] for i in range(len(value))
    )


ASSIGNMENTS = st.tuples(NAMES.map(raw), oddly_escaped()).map(lambda pair: b"%b=%b\n" % pair)
COMMENTS = st.one_of(st.just(WARNING), oddly_escaped().map(lambda body: b"#" + body + b"\n"), st.just(b"####\n"))


@st.composite
def valid_blocks(draw: st.DrawFn) -> bytes:
    """Any sound block, with comments, duplicates, unusual escapes, and of any size."""
    lines = draw(st.lists(st.one_of(ASSIGNMENTS, ASSIGNMENTS, COMMENTS), max_size=12))
    body = b"".join(lines)
    padding = draw(st.integers(0, 600)) if body else draw(st.integers(1, 600))
    return SIGNATURE + body + b"#" * padding


DAMAGED_OR_NOT = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from([b"a", b"b=", b"=", b"\n", b"\\", b"#", b"\0", b"\r", b"name=value\n"]), max_size=40).map(
        lambda pieces: SIGNATURE + b"".join(pieces)
    ),
)
"""Bytes of every kind, most of them behind a signature, where reading becomes interesting."""


def need(*tools: str) -> None:
    """Skip, with the reason, when a tool of GRUB's is not installed."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def editenv(path: Path, *words: bytes | str) -> subprocess.CompletedProcess[bytes]:
    """Run grub-editenv on `path`."""
    return subprocess.run(
        ["grub-editenv", path, *words],
        capture_output=True,
        check=False,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
    )


def make_image(directory: Path, files: Mapping[str, bytes], kind: str = "ext4") -> Path:
    """Return the image of a new file system that holds `files`, made without mounting it."""
    tree = directory / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    for name, data in files.items():
        (tree / name).write_bytes(data)
    image = directory / f"{kind}.img"
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(16 * 1024 * 1024)
    if kind == "vfat":
        subprocess.run(["mkfs.vfat", image], check=True, capture_output=True)
        subprocess.run(["mcopy", "-i", image, *sorted(tree.iterdir()), "::"], check=True, capture_output=True)
    else:
        options = ["-O", "^has_journal"] if kind == "ext2" else []
        subprocess.run(["mke2fs", "-q", "-t", "ext4", *options, "-d", tree, image], check=True, capture_output=True)
    return image


def fstest_cat(image: Path, name: str) -> bytes:
    """Return the file as GRUB's own file system drivers read it."""
    return subprocess.run(["grub-fstest", image, "cat", f"(loop0)/{name}"], check=True, capture_output=True).stdout


def run_grub(directory: Path, script: Iterable[str], *images: Path) -> str:
    """Run a script in GRUB's interpreter with the images as (hd0), (hd1) and so on, and return what it printed."""
    configuration = directory / "emu"
    configuration.mkdir(exist_ok=True)
    (configuration / "device.map").write_text("".join(f"(hd{index}) {image}\n" for index, image in enumerate(images)))
    # GRUB 2.12's grub-emu tells of each file that it reads, on the line of what a script prints.
    (configuration / "grub.cfg").write_text("\n".join(["set enable_progress_indicator=0", *script, "exit", ""]))
    done = subprocess.run(
        ["grub-emu", "-d", configuration, "-m", configuration / "device.map"],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    return done.stdout.decode("utf-8", "replace")
