"""The codec: tables through one helper, then properties over all blocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grubenv import BadNameError, BadValueError, DamagedError, EnvBlock, GrubEnvError, NoRoomError
from grubenv.view import SIGNATURE, iterate, variables
from tests.grubenv.blocks import SAMPLE, WARNING, block
from tests.grubenv.support import DAMAGED_OR_NOT, NAMES, VALUES, raw, text, valid_blocks


def check_vector(data: bytes, expected: dict[str, str], used: int | None = None) -> EnvBlock:
    """Check that the codec and the independent reader read `expected`, and that the bytes come back."""
    parsed = EnvBlock.parse(data)
    assert dict(parsed) == expected
    assert variables(data) == expected
    assert parsed.build() == data
    assert parsed.size == len(data)
    if used is not None:
        assert parsed.used == used
    return parsed


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"", {}, id="empty"),
        pytest.param(b"a=1\n", {"a": "1"}, id="one"),
        pytest.param(b"a=\n", {"a": ""}, id="empty value"),
        pytest.param(WARNING + b"a=1\n", {"a": "1"}, id="warning comment"),
        pytest.param(b"a=b=c==\n", {"a": "b=c=="}, id="equals in value"),
        pytest.param(b"a=#1 #\n", {"a": "#1 #"}, id="hash in value"),
        pytest.param(b"a= b \n c =d\n", {"a": " b ", " c ": "d"}, id="spaces"),
        pytest.param(b"a=x\\\ny\n", {"a": "x\ny"}, id="escaped newline"),
        pytest.param(b"a=x\\\\\nb=2\n", {"a": "x\\", "b": "2"}, id="escaped backslash before the end"),
        pytest.param(b"a=\\x\\=\n", {"a": "x="}, id="needless escapes"),
        pytest.param("a=grün\n".encode(), {"a": "grün"}, id="UTF-8"),
        pytest.param(b"a=\xff\xfe\n", {"a": "\udcff\udcfe"}, id="not UTF-8"),
        pytest.param(b"a=1\r\n", {"a": "1\r"}, id="CR LF behind a value: the CR belongs to it"),
        pytest.param(b"a=1\nb=2\na=3\n", {"a": "3", "b": "2"}, id="duplicate, last wins"),
        pytest.param(b"# a=1\n#b=2\n", {}, id="comments"),
        pytest.param(b"# path C:\\\nhidden=1\nseen=2\n", {"seen": "2"}, id="backslash at a comment's end hides a line"),
        pytest.param(b"\\=1\n", {"\\": "1"}, id="backslash as name"),
        pytest.param(b"a\\=1\\\n2\n", {"a\\": "1\n2"}, id="backslash before the equals sign"),
    ],
)
@pytest.mark.parametrize("size", [1024, 512, 4096, 333, 0])
def test_vectors(body: bytes, expected: dict[str, str], size: int) -> None:
    data = block(body, max(size, 26))
    check_vector(data, expected, used=len(SIGNATURE + body))


@pytest.mark.parametrize(
    ("data", "word", "offset"),
    [
        pytest.param(b"", "empty", None, id="empty"),
        pytest.param(bytes(1024), "nul-filled", None, id="NUL-filled"),
        pytest.param(SIGNATURE, "short", None, id="a byte less than GRUB accepts"),
        pytest.param(b"x" * 1024, "no-signature", 0, id="no signature"),
        pytest.param(SAMPLE.replace(b"\n", b"\r\n"), "no-signature", 0, id="CR LF"),
        pytest.param(block(b"a=1"), "no-newline", 28, id="no newline before the padding"),
        pytest.param(block(b"a=1\\\n"), "no-newline", 30, id="the last newline is escaped"),
        pytest.param(block(b"a=1\n") + b"\0", "stray-bytes", 1024, id="one byte too many"),
        pytest.param(block(b"a=1\n", 512) + bytes(512), "stray-bytes", 512, id="second half NUL"),
        pytest.param(block(b"\na=1\n"), "malformed-line", 25, id="blank line"),
        pytest.param(block(b"a=1\njust words\n"), "malformed-line", 29, id="line without ="),
        pytest.param(block(b"a=1\nb\\\nc=2\n"), "bad-name", 29, id="newline in a name"),
        pytest.param(block(b"=1\n"), "bad-name", 25, id="empty name"),
        pytest.param(block(b"a\0b=1\n"), "bad-name", 25, id="NUL in a name"),
        pytest.param(block(b"a=1\0\n"), "nul-in-value", 28, id="NUL in a value"),
    ],
)
def test_damages(data: bytes, word: str, offset: int | None) -> None:
    with pytest.raises(DamagedError) as caught:
        EnvBlock.parse(data)
    assert (caught.value.damages[0].word, caught.value.damages[0].offset) == (word, offset)
    assert str(caught.value).startswith("cannot read environment block: ")


def test_all_damages_are_named() -> None:
    with pytest.raises(DamagedError, match=r"offset 25 \(and 2 more\)$") as caught:
        EnvBlock.parse(block(b"words\na=1\n=2\nb=2"))
    assert [damage.word for damage in caught.value.damages] == ["malformed-line", "bad-name", "no-newline"]


@pytest.mark.parametrize("name", ["", "#a", "a=b", "a\nb", "a\0b", "\ud800"])
def test_bad_names(name: str) -> None:
    with pytest.raises(BadNameError):
        EnvBlock.create().update({name: "1"})


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_bad_values(value: str) -> None:
    with pytest.raises(BadValueError):
        EnvBlock.create().update({"a": value})


def test_room() -> None:
    full = EnvBlock.create(64).update({"a": "x" * 36})
    assert (full.used, full.build()[-2:]) == (64, b"x\n")
    check_vector(full.build(), {"a": "x" * 36})
    with pytest.raises(NoRoomError) as caught:
        EnvBlock.create(64).update({"a": "x" * 37})
    assert (caught.value.needed_bytes, caught.value.available_bytes) == (65, 64)
    with pytest.raises(NoRoomError):
        EnvBlock.create(25)


def test_fillers_make_room_when_it_is_needed() -> None:
    old = EnvBlock.parse(block(b"####\na=1\n########\n# note\n", 64))
    assert b"########\n" in old.update({"a": "12345"}).build()
    assert old.update({"b": "2" * 20}).build() == block(b"####\na=1\n# note\nb=" + b"2" * 20 + b"\n", 64)


def test_set_and_unset_of_one_name_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="set and unset at once: a"):
        EnvBlock.create().update({"a": "1"}, ["a"])


@pytest.mark.parametrize(
    ("set_", "unset", "body"),
    [
        pytest.param({"b": "9"}, [], b"a=1\nb=9\na=3\n# end\n", id="another name leaves duplicates alone"),
        pytest.param({"a": "9"}, [], b"a=9\nb=2\n# end\n", id="set collapses them in the first place"),
        pytest.param({"a": "3"}, [], b"a=3\nb=2\n# end\n", id="even to the value that counts already"),
        pytest.param({"a": "1"}, [], b"a=1\nb=2\n# end\n", id="or to the first one's"),
        pytest.param({}, ["a"], b"b=2\n# end\n", id="unset removes all"),
    ],
)
def test_duplicates(set_: dict[str, str], unset: list[str], body: bytes) -> None:
    old = EnvBlock.parse(block(b"a=1\nb=2\na=3\n# end\n"))
    assert old.duplicates == ("a",)
    assert old.update(set_, unset).build() == block(body)


@given(valid_blocks())
def test_every_valid_block_round_trips(data: bytes) -> None:
    parsed = EnvBlock.parse(data)
    assert parsed.build() == data
    assert dict(parsed) == variables(data)


@given(valid_blocks(), st.dictionaries(NAMES, VALUES, max_size=4), st.lists(NAMES, max_size=3))
def test_update_changes_exactly_what_it_should(data: bytes, set_: dict[str, bytes], unset: list[str]) -> None:
    values = {name: text(value) for name, value in set_.items()}
    removed = [name for name in unset if name not in values]
    old = EnvBlock.parse(data)
    try:
        new = old.update(values, removed)
    except NoRoomError as error:
        assert error.needed_bytes > error.available_bytes == len(data)
        return
    built = new.build()
    assert len(built) == len(data)
    wanted = {name: value for name, value in {**variables(data), **values}.items() if name not in removed}
    assert variables(built) == dict(new) == dict(EnvBlock.parse(built)) == wanted
    touched = set(values) | set(removed)
    fillers = [line for line in old.lines if line.is_filler]
    untouched = [line for line in old.lines if line.name not in touched]
    kept = [line for line in new.lines if line.name not in touched]
    if new.used + sum(len(line.raw) for line in fillers) <= new.size:
        assert kept == untouched
    else:
        assert [line for line in kept if not line.is_filler] == [line for line in untouched if not line.is_filler]
    assert new.update(values, removed).build() == built


@given(DAMAGED_OR_NOT)
def test_arbitrary_bytes_raise_only_typed_errors(data: bytes) -> None:
    try:
        parsed = EnvBlock.parse(data)
    except DamagedError as error:
        assert error.damages
    else:
        check_vector(data, dict(parsed))
    try:
        list(iterate(data))
    except GrubEnvError:
        assert len(data) < 26 or not data.startswith(SIGNATURE)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_what_is_set_is_read(values: dict[str, bytes]) -> None:
    wanted = {name: text(value) for name, value in values.items()}
    built = EnvBlock.create(2048).update(wanted).build()
    assert list(iterate(built)) == [(raw(name), value) for name, value in values.items()]
