"""Bad update images, each with the error that it has to give."""

import bz2
import gzip
import lzma
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from image.bad_archives import CUTS, TAR, TRUNCATED, VERSION_AT, WHOLE, Case
from image.bad_streams import BZIP2, COMPRESSED, GZIP, XZ, ZSTD, zstd
from manageboot.errors import DataError, ImageFormatError, ImageTruncatedError
from support import archives
from support.archives import (
    BLOCK,
    END,
    header,
    member,
    old_gnu,
    read_path,
    skippable_frame,
    zstd_frame,
)

KIB = 1024


def cut_cases() -> dict[str, Case]:
    """Each cut as a plain archive, and inside a compressed stream that is itself whole."""
    cases = {}
    for name, (at, message) in CUTS.items():
        cases[f"tar + {name}"] = (WHOLE[:at], TRUNCATED, message)
        if at >= BLOCK:
            cases[f"tar + {name}, in gzip"] = (gzip.compress(WHOLE[:at]), TRUNCATED, message)
    return cases


CASES = {**cut_cases(), **TAR, **COMPRESSED}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, tmp_path: Path):
    check_bad_input(name, tmp_path)


def check_bad_input(name: str, tmp_path: Path) -> None:
    content, kind, message = CASES[name]
    path = tmp_path / "image.bin"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_path(path)
    assert type(caught.value) is kind, caught.value
    text = str(caught.value)
    assert re.search(message, text), text
    assert text.startswith(f"cannot read {path}: ")
    assert "\n" not in text
    assert text.isprintable()


def test_there_are_at_least_sixty_of_them():
    assert len(CASES) >= 60


def test_the_whole_archive_that_they_were_made_from_is_good(tmp_path: Path):
    for content in (WHOLE, ZSTD, GZIP, XZ, BZIP2, zstd_frame(WHOLE), WHOLE + bytes(9000), WHOLE + bytes(3)):
        path = tmp_path / "image.bin"
        path.write_bytes(content)
        found = read_path(path)
        assert {name: len(image) for name, image in found.items()} == {
            "boot.img": 1500,
            "root.img": 64 * KIB,
            "VERSION.TXT": 6,
        }


SMALL = member("boot.img", b"boot") + old_gnu("root.img", 4096, b"r" * 512, [(1024, 512)]) + END
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "zstd": lambda data: skippable_frame() + zstd(data[:700]) + zstd_frame(data[700:]) + skippable_frame(bytes(600)),
    "gzip": lambda data: gzip.compress(data[:700], 0) + gzip.compress(data[700:], 0),
    "xz": lambda data: lzma.compress(data[:700]) + bytes(400) + lzma.compress(data[700:]) + bytes(400),
    "bzip2": lambda data: bz2.compress(data[:700]) + bz2.compress(data[700:]),
}


@pytest.mark.parametrize("form", PACKED)
def test_every_prefix_of_an_archive_is_truncated(form: str, tmp_path: Path):
    check_prefixes(form, tmp_path)


def check_prefixes(form: str, tmp_path: Path) -> None:
    """Cut at every byte, from the end to the start: each time the error says that it ends too early."""
    whole = PACKED[form](SMALL)
    path = tmp_path / "image.bin"
    path.write_bytes(whole)
    assert set(read_path(path)) == {"boot.img", "root.img"}
    wrong = {}
    for size in range(len(whole) - 1, -1, -1):
        os.truncate(path, size)
        try:
            read_path(path)
        except ImageTruncatedError:
            continue
        except DataError as error:
            wrong[size] = str(error)
        else:
            wrong[size] = "it was read"
    assert {size: error for size, error in wrong.items() if not may_end_there(form, whole, size)} == {}


def may_end_there(form: str, whole: bytes, size: int) -> bool:
    """Padding may be cut and a last skippable frame may be missing: nothing, or something else, is wrong then."""
    if form == "zstd":
        return size == len(whole) - len(skippable_frame(bytes(600)))
    return form == "xz" and not (any(whole[size:]) and any(whole[size - 1 : size + 1]))


@pytest.mark.parametrize("form", PACKED)
def test_damage_is_an_error_of_the_image_or_harmless(form: str, tmp_path: Path):
    check_damage(form, tmp_path)


def check_damage(form: str, tmp_path: Path) -> None:
    """Overwrite random bytes: whatever happens, it is one of our errors, and no crash."""
    chosen = random.Random(form)
    whole = PACKED[form](SMALL)
    path = tmp_path / "image.bin"
    outcomes = set()
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(chosen.randint(1, 4)):
            content[chosen.randrange(len(content))] = chosen.randrange(256)
        path.write_bytes(content)
        try:
            read_path(path)
        except DataError as error:
            outcomes.add(type(error))
    assert ImageFormatError in outcomes


def test_a_plain_archive_that_is_cut_is_refused_before_the_member_is_given(tmp_path: Path):
    """An installation has written nothing of root.img yet when it hears that there is not enough of it."""
    path = tmp_path / "image.bin"
    path.write_bytes(WHOLE[: VERSION_AT - 1000])
    with archives.open_image([str(path)]) as image:
        members = image.members()
        assert next(members).name == "boot.img"
        with pytest.raises(ImageTruncatedError, match=r"root\.img ends after 14360 of 15360 bytes"):
            next(members)


def test_checksums_of_signed_bytes_are_taken(tmp_path: Path):
    """Some old tars added up bytes as signed numbers."""
    block = bytearray(header("./\u00e4", 0))
    block[148:156] = b" " * 8
    signed = sum(byte - 256 if byte > 127 else byte for byte in block)
    block[148:156] = b"%06o\0 " % signed
    path = tmp_path / "image.bin"
    path.write_bytes(bytes(block) + WHOLE)
    with archives.open_image([str(path)]) as image:
        assert set(archives.digests(image)) == {"boot.img", "root.img", "VERSION.TXT"}
        assert image.ignored == ["\u00e4"]
