"""The kernel command line is read as the kernel reads it: what it makes of each line was worked out with next_arg."""

import os
from pathlib import Path

import pytest

import grubenv
from grubenv import kernelcmdline

LINES: list[tuple[bytes, list[tuple[bytes, bytes | None]]]] = [
    (b"", []),
    (b"   \t \n", []),
    (b"quiet a=1", [(b"quiet", None), (b"a", b"1")]),
    (b"  a=1\t\x0bb=2\r\x0cc=3  ", [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]),
    (b"a=1 a=2", [(b"a", b"1"), (b"a", b"2")]),
    (b"a=b=c #d=e", [(b"a", b"b=c"), (b"#d", b"e")]),
    # A backslash and an apostrophe are characters like any other.
    (b"a=\\x b='c d'", [(b"a", b"\\x"), (b"b", b"'c"), (b"d'", None)]),
    # Quotation marks around a value, a word, or neither.
    (b'a="x y" b=2', [(b"a", b"x y"), (b"b", b"2")]),
    (b'"a=x y" b=2', [(b"a", b"x y"), (b"b", b"2")]),
    (b'"quiet" "b"=2', [(b"quiet", None), (b'b"', b"2")]),
    (b'a=x" "y b=2', [(b"a", b'x" "y'), (b"b", b"2")]),
    (b'a="x"y b=2', [(b"a", b'x"y'), (b"b", b"2")]),
    (b'a"b c"=d', [(b'a"b c"', b"d")]),
    (b'a="x y"" z" b', [(b"a", b'x y"" z'), (b"b", None)]),
    (b'a=""', [(b"a", b"")]),
    (b'"a="b c" d"', [(b"a", b"b"), (b'c" d"', None)]),
    # One that is never closed holds all that follows.
    (b'a=1 b="x y a=2', [(b"a", b"1"), (b"b", b"x y a=2")]),
    (b'a=1 b=x"y a=2', [(b"a", b"1"), (b"b", b'x"y a=2')]),
    (b'"a=1 a=2', [(b"a", b"1 a=2")]),
    (b'a=1 "', [(b"a", b"1"), (b"", None)]),
    (b'a="', [(b"a", b"")]),
    # The first character of a word is never the equals sign.
    (b"=a", [(b"=a", None)]),
    (b"=a=b", [(b"=a", b"b")]),
    (b"a= b", [(b"a", b""), (b"b", None)]),
    # What follows `--` is for init; it is one only as a word of its own.
    (b"a=1 -- a=2", [(b"a", b"1")]),
    (b'a=1 "--" a=2', [(b"a", b"1")]),
    (b"a=1 --x --= a=2", [(b"a", b"1"), (b"--x", None), (b"--", b""), (b"a", b"2")]),
    (b'x="-- " a=2', [(b"x", b"-- "), (b"a", b"2")]),
    # Spaces are those of Latin-1, and no others.
    (b"x=1\xa0a=2", [(b"x", b"1"), (b"a", b"2")]),
    ("x=à a=2".encode(), [(b"x", b"\xc3"), (b"a", b"2")]),
    ("x=1\u2003a=2\x1ca=3\x85a=4".encode(), [(b"x", "1\u2003a=2\x1ca=3\x85a=4".encode())]),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_words_of_a_line(line: bytes, expected: list[tuple[bytes, bytes | None]]) -> None:
    assert list(kernelcmdline.parameters(line)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"root=/dev/vda5 slot=A ro", ["A"]),
        (b"slot=A slot=A", ["A"]),
        (b"slot=B slot=A", ["A", "B"]),
        (b"slot slot= xslot=A slots=A Slot=A sl-ot=A", [""]),
        (b'slot=B x="cut off slot=A', ["B"]),
        (b"slot=\xfc", ["\udcfc"]),
    ],
)
def test_values_of_a_key(line: bytes, expected: list[str]) -> None:
    assert kernelcmdline.values(line, "slot") == expected


def test_keys_with_a_hyphen_or_that_are_no_utf_8() -> None:
    line = b"a-b=1 a_b=2 \xfc=3"
    assert kernelcmdline.values(line, "a-b") == ["1"]
    assert kernelcmdline.values(line, "a_b") == ["2"]
    assert kernelcmdline.values(line, "\udcfc") == ["3"]


def test_the_newline_of_the_file_is_no_part_of_the_line(tmp_path: Path) -> None:
    path = tmp_path / "cmdline"
    path.write_bytes(b'slot=A x="never closed\n')
    assert list(kernelcmdline.parameters(kernelcmdline.read_line(str(path))))[1] == (b"x", b"never closed")


def test_a_contradiction_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "cmdline"
    path.write_bytes(b"slot=B slot=A\n")
    assert kernelcmdline.read_value(str(path), "other") is None
    with pytest.raises(grubenv.ContradictionError, match=f"cannot read {path}: it has slot=A and slot=B") as caught:
        kernelcmdline.read_value(str(path), "slot")
    assert (caught.value.exit_code, caught.value.code_word) == (65, "CONTRADICTION")
    path.unlink()
    with pytest.raises(grubenv.AbsentError):
        kernelcmdline.read_value(str(path), "slot")


def test_an_empty_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "cmdline"
    os.mkfifo(path)
    assert kernelcmdline.read_line(str(path)) == b""
    with os.fdopen(os.open(path, os.O_RDWR), "wb"):  # with a writer who says nothing yet
        assert kernelcmdline.read_line(str(path)) == b""


def test_the_value_may_come_through_a_pipe() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb"):
        os.write(writer, b"root=/dev/vda5 slot=B\n")
        os.close(writer)
        assert kernelcmdline.read_value(f"/dev/fd/{reader}", "slot") == "B"


def test_what_never_ends_is_an_error() -> None:
    with pytest.raises(grubenv.StorageError, match="cannot read /dev/zero: file too large"):
        kernelcmdline.read_value("/dev/zero", "slot")
