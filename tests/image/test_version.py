"""The version that an update image bears: a line of text, or a remark."""

from pathlib import Path

import pytest

from manageboot.image import VERSION, open_image
from manageboot.image.version import Version, read_version
from support.archives import END, GNU, header, member, read_image

IMAGES = member("boot.img", b"boot") + member("root.img", b"root")


def version_of(content: bytes, directory: Path) -> Version:
    path = directory / "image.tar"
    path.write_bytes(IMAGES + member("VERSION.TXT", content) + END)
    with open_image([str(path)]) as image:
        (found,) = (read_version(one) for one in image.members() if one.name == VERSION)
    return found


@pytest.mark.parametrize(
    ("content", "version"),
    [
        (b"1.2.3\n", "1.2.3"),
        (b" \r\n1.2.3\t\r\n\n", "1.2.3"),
        (b"\xef\xbb\xbf1.2.3\r\n", "1.2.3"),
        ("größer als 7\n".encode(), "größer als 7"),
        (b"x" * 4096, "x" * 4096),
        (b"", None),
        (b"\n", None),
        (b"\xef\xbb\xbf", None),
    ],
)
def test_a_version(content: bytes, version: str | None, tmp_path: Path):
    assert version_of(content, tmp_path) == Version(version)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("\ufeff1.2.3\n".encode("utf-16-le"), "is in UTF-16, and has to be in UTF-8"),
        ("\ufeff1.2.3\n".encode("utf-16-be"), "is in UTF-16, and has to be in UTF-8"),
        (b"1.2.\xfc", "is not in UTF-8: byte 4 is 0xfc"),
        (b"\xef\xbb\xbf1\xfc", "is not in UTF-8: byte 1 is 0xfc"),
        (b"1\n2\n", "is not one line of text: character 1 of it is U+000A (LINE FEED)"),
        (b"1.2\r\n# comment\n", "is not one line of text: character 3 of it is U+000D (CARRIAGE RETURN)"),
        ("1.2\u200b.3".encode(), "is not one line of text: character 3 of it is U+200B (ZERO WIDTH SPACE)"),
        ("1.2\ufeff.3".encode(), "is not one line of text: character 3 of it is U+FEFF (ZERO WIDTH NO-BREAK SPACE)"),
        ("1\u00a02".encode(), "is not one line of text: character 1 of it is U+00A0 (NO-BREAK SPACE)"),
        (b"1\x1b[2J", "is not one line of text: character 1 of it is U+001B"),
        (b"1.2.3\0\0\0", "is not one line of text: character 5 of it is U+0000 (NUL)"),
        (b"x" * 4097, "has 4097 bytes, and 4096 are allowed"),
    ],
)
def test_what_is_no_version_is_a_remark(content: bytes, problem: str, tmp_path: Path):
    assert version_of(content, tmp_path) == Version(None, f"VERSION.TXT {problem}; the version is unknown")


@pytest.mark.parametrize("before", [False, True], ids=["behind the images", "before them"])
@pytest.mark.parametrize(
    ("kind", "what"), [(b"1", "a hard link"), (b"2", "a symbolic link"), (b"5", "a directory")], ids=str
)
def test_what_is_no_file_is_a_remark(kind: bytes, what: str, before: bool, tmp_path: Path):
    odd = header("VERSION.TXT", 0, kind, GNU, at_157=b"version")
    path = tmp_path / "image.tar"
    path.write_bytes((odd + IMAGES if before else IMAGES + odd) + END)
    with open_image([str(path)]) as image:
        assert read_image(image) == {"boot.img": b"boot", "root.img": b"root"}
        assert image.remarks == [f"VERSION.TXT is {what}; the version is unknown"]


def test_a_version_whose_head_was_asked_for_may_be_read_later(tmp_path: Path):
    path = tmp_path / "image.tar"
    path.write_bytes(member("VERSION.TXT", b"7") + IMAGES + END)
    with open_image([str(path)]) as image:
        members = image.members()
        version = next(members)
        assert version.head == b"7"
        assert next(members).name == "boot.img"
        assert read_version(version) == Version("7")
