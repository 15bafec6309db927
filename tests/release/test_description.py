"""release.json: what is written is read back, and nothing else is taken."""

import copy
import json
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manageboot import errors
from manageboot.release import description
from manageboot.release.description import Delta, File, Image, Release, Requirements
from support.releases import small_release

SMALL, ALL = string.ascii_lowercase + string.digits, string.ascii_letters + string.digits


def words(first: str, rest: str, most: int) -> st.SearchStrategy[str]:
    """Words up to a length; a strategy from a regular expression takes ten times as long."""
    return st.builds(str.__add__, st.sampled_from(first), st.text(first + rest, max_size=most - 1))


hex64 = st.binary(min_size=32, max_size=32).map(bytes.hex)
numbers = st.integers(1, description.NUMBER_MAX)
names = words(ALL, ".:+_-", 64)
files = st.builds(File, st.integers(1, description.FILE_BYTES_MAX), hex64)


roles = st.lists(words(SMALL, "_-", 32), min_size=1, max_size=4, unique=True)
versions = words(ALL, ".+~_-", 64)
index_files = st.builds(File, st.integers(1, description.INDEX_BYTES_MAX), hex64)


def images(names: list[str]) -> st.SearchStrategy[tuple[Image, ...]]:
    return st.tuples(
        *(st.builds(Image, st.just(role), st.integers(1, description.IMAGE_BYTES_MAX), hex64) for role in names)
    )


@st.composite
def deltas(draw: st.DrawFn, version: str) -> tuple[Delta, ...]:
    some = draw(st.lists(st.sampled_from([f"{version[:60]}-1", "0.9~x+y", "A"]), max_size=3, unique=True))
    some = [old for old in some if old != version]
    packs = st.builds(File, st.integers(0, description.FILE_BYTES_MAX), hex64)
    return tuple(
        Delta(
            old,
            draw(st.none() | numbers),
            draw(st.none() | hex64),
            draw(roles.flatmap(images)),
            draw(index_files),
            draw(packs),
        )
        for old in some
    )


@st.composite
def releases(draw: st.DrawFn) -> Release:
    release_index = draw(numbers)
    agents = st.tuples(*[st.integers(0, 999_999)] * 3).map(lambda numbers: ".".join(map(str, numbers)))
    some = st.lists(names, max_size=5, unique=True).map(tuple)
    version = draw(versions)
    return Release(
        version=version,
        release_index=release_index,
        min_index=draw(st.integers(0, release_index)),
        built=draw(st.none() | numbers),
        requires=Requirements(draw(st.none() | agents), draw(some), draw(some)),
        images=draw(roles.flatmap(images)),
        archive_name=draw(st.sampled_from(description.ARCHIVES)),
        archive=draw(files),
        idx=draw(index_files),
        pack=draw(files),
        deltas=draw(deltas(version)),
    )


@settings(max_examples=40)
@given(releases())
def test_what_is_written_is_read_back(release: Release):
    assert description.parse(description.encode(release)) == release


GOOD = json.loads(small_release({"boot": b"1" * 9000, "root": b"2" * 5000}).description)
SHA = "00" * 32


def changed(path: str, value: object) -> dict[str, Any]:
    """The good file with one value changed, or taken out where the value is an ellipsis."""
    whole = copy.deepcopy(GOOD)
    *folders, key = path.split("/")
    place = whole
    for folder in folders:
        place = place[int(folder) if isinstance(place, list) else folder]
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return whole


BAD: list[tuple[str, object, str]] = [
    ("type", 1, "type does not match"),
    ("type", "manageboot-releases", "type does not match"),
    ("format", ..., "format is missing"),
    ("format", "1", "format does not match"),
    ("format", "1.0\n", "format does not match"),
    ("version", ..., "version is missing"),
    ("version", "..", "version does not match"),
    ("version", "a/b", "version does not match"),
    ("version", "x" * 65, "version does not match"),
    ("index", 0, "index is not an integer from 1 to"),
    ("index", True, "index is not an integer from"),
    ("index", 1.0, "index is not an integer"),
    ("index", "1", "index is not an"),
    ("index", 1 << 53, "index is not"),
    ("min_index", 2, "min_index is 2, more than index"),
    ("min_index", -1, "min_index is not an integer from 0"),
    ("built", None, "built is not an integer"),
    ("requires", [], "requires is not an object"),
    ("requires", {"x": 1}, "in requires, 'x' is not known"),
    ("requires", {"agent": "1.2"}, "in requires, agent does not match"),
    ("requires", {"systems": []}, "in requires, systems is not a list of 1 to"),
    ("requires", {"systems": ["a", "a"]}, "in requires, systems has an entry twice"),
    ("requires", {"hardware": ["a b"]}, "in requires, hardware does not match"),
    ("requires", {"hardware": ["a"] * 65}, "in requires, hardware is not a list"),
    ("images", {}, "images is not a list"),
    ("images", [], "images is not a list of 1"),
    ("images", ["boot"], "images[0] is not an object"),
    ("images", [{"role": "root", "size": 1, "digest": SHA}] * 2, "a role is in images twice"),
    ("images", [{"role": "../x", "size": 1, "digest": SHA}], "in images[0], role does not match"),
    ("images", [{"role": "root", "size": 0, "digest": SHA}], "in images[0], size is not an integer"),
    ("images", [{"role": "root", "size": 1, "digest": SHA.upper() + "A"}], "in images[0], digest does not match"),
    ("images", [{"role": "root", "size": 1, "digest": SHA, "hash": SHA}], "in images[0], 'hash' is not known"),
    ("comment", "hello", "'comment' is not known"),
    ("files", ..., "files is missing"),
    ("files/release.idx", ..., "in files, release.idx is missing"),
    ("files/full.pack", ..., "in files, full.pack is missing"),
    ("files/update-img.tar.zst", ..., "in files, one of update-img.tar.zst,"),
    ("files/update-img.tar", {"size": 1, "sha256": SHA}, "in files, one of update-img.tar.zst"),
    ("files/..", {"size": 1, "sha256": SHA}, "in files, '..' is not known"),
    ("files/release.idx/size", (32 << 20) + 1, "in files, release.idx has 33554433 bytes"),
    ("files/full.pack/size", 0, "in files.full.pack, size is not an integer"),
    ("files/full.pack/sha256", "00", "in files.full.pack, sha256 does not match"),
    ("requires", {"hardware": ["x" * 65]}, "in requires, hardware does not match"),
]


@pytest.mark.parametrize(("path", "value", "cause"), BAD)
def test_what_breaks_a_rule_is_refused(path: str, value: object, cause: str):
    with pytest.raises(errors.ReleaseFormatError) as raised:
        description.parse(json.dumps(changed(path, value)).encode())
    assert cause in str(raised.value)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "it is not JSON"),
        (b"[]", "it is not an object of JSON"),
        (b'{"type": NaN}', "it is not JSON: NaN"),
        (b'{"type": 1, "type": 1}', "a key is there twice"),
        (b"\xff", "it is not JSON"),
        (b"[" * 60_000, "it is not JSON: it is nested too deeply"),
        (b" " * 65_537, "it has 65537 bytes, and 65536 are allowed"),
        (b'{"index": ' + b"9" * 5000 + b"}", "it is not JSON"),
    ],
)
def test_what_is_no_object_of_json_is_refused(content: bytes, cause: str):
    with pytest.raises(errors.ReleaseFormatError, match=f"^cannot read v2/release.json: .*{cause}"):
        description.parse(content, "v2/release.json")


def test_another_major_version_is_refused_whatever_else_it_has():
    content = json.dumps({"type": description.TYPE, "format": "2.0", "anything": 1}).encode()
    with pytest.raises(errors.ReleaseTooNewError, match=r"of format 2\.0, and this manageboot reads 1\.1$"):
        description.parse(content)


def test_a_later_minor_version_may_have_more_in_it_everywhere():
    known = description.parse(json.dumps(GOOD).encode())
    later = copy.deepcopy(GOOD)
    later.update(format="1.2", rollout=5, requires={"tpm": 2})
    later["images"][0]["tree"] = "x"
    later["files"]["from-0.9.pack"] = {"size": 1, "sha256": SHA}
    later["files"]["full.pack"]["frames"] = 1
    assert description.parse(json.dumps(later).encode()) == known
    later["index"] = 0
    with pytest.raises(errors.ReleaseFormatError, match="index is not an integer"):
        description.parse(json.dumps(later).encode())


OLD = {"size": 1, "role": "root", "digest": SHA}
DELTA = {"version": "0.9", "index": 1, "sha256": SHA, "images": [OLD]}
FROM = {"from-0.9.idx": {"size": 9, "sha256": SHA}, "from-0.9.pack": {"size": 0, "sha256": SHA}}


def with_deltas(*deltas: object, files: dict[str, object] = FROM, form: str = "1.1") -> bytes:
    whole = {**GOOD, "format": form, "deltas": list(deltas), "files": {**GOOD["files"], **files}}
    return json.dumps(whole).encode()


def test_a_release_has_up_to_sixteen_images():
    images = tuple(Image(f"role{at}", 1, SHA) for at in range(16))
    release = description.parse(json.dumps(GOOD).encode())._replace(images=images)
    assert description.parse(description.encode(release)) == release
    with pytest.raises(errors.ReleaseFormatError, match="images is not a list of 1 to 16"):
        description.parse(description.encode(release._replace(images=(*images, Image("more", 1, SHA)))))


def test_a_release_has_deltas_from_older_ones():
    [delta] = description.parse(with_deltas(DELTA)).deltas
    assert (delta.version, delta.idx_name, delta.pack_name) == ("0.9", "from-0.9.idx", "from-0.9.pack")
    assert delta.pack.size == 0
    assert delta.images == (Image("root", 1, SHA),)


def test_a_release_without_deltas_is_one_that_older_agents_read():
    assert json.loads(description.encode(description.parse(json.dumps(GOOD).encode())))["format"] == "1.0"
    assert json.loads(description.encode(description.parse(with_deltas(DELTA))))["format"] == "1.1"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (with_deltas(DELTA, form="1.0"), "in files, 'from-0.9.idx' is not known"),
        (with_deltas(), "deltas is not a list of 1 to 32"),
        (with_deltas(*[DELTA] * 33), "deltas is not a list of 1 to 32"),
        (with_deltas(DELTA, DELTA), "in files, from-0.9.idx is not there, or there are two deltas from 0.9"),
        (with_deltas({**DELTA, "version": "0.8"}), "in files, from-0.8.idx is not there"),
        (with_deltas({**DELTA, "version": "../0"}), "in deltas[0], version does not match"),
        (with_deltas({**DELTA, "index": 0}), "in deltas[0], index is not an integer"),
        (with_deltas({**DELTA, "sha256": "0"}), "in deltas[0], sha256 does not match"),
        (with_deltas({**DELTA, "images": []}), "in deltas[0], images is not a list of 1"),
        (with_deltas({**DELTA, "images": [OLD, OLD]}), "in deltas[0], a role is in images twice"),
        (with_deltas({**DELTA, "more": 1}), "in deltas[0], 'more' is not known"),
        (with_deltas(DELTA, files={}), "in files, from-0.9.idx is not there"),
        (with_deltas(DELTA, files={"from-0.9.idx": FROM["from-0.9.idx"]}), "in files, from-0.9.pack is missing"),
        (with_deltas(DELTA, files={**FROM, "from-0.8.idx": 1}), "in files, 'from-0.8.idx' is not known"),
        (
            with_deltas(DELTA, files={**FROM, "from-0.9.idx": {"size": 33554433, "sha256": SHA}}),
            "in files, from-0.9.idx has 33554433 bytes, and 33554432 are allowed",
        ),
        (
            with_deltas(
                {**DELTA, "version": "1.0"}, files={f"from-1.0.{end}": FROM["from-0.9.idx"] for end in ("idx", "pack")}
            ),
            "there is a delta from 1.0, which is this release",
        ),
    ],
)
def test_deltas_that_break_a_rule_are_refused(content: bytes, cause: str):
    with pytest.raises(errors.ReleaseFormatError) as raised:
        description.parse(content)
    assert cause in str(raised.value)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(list(GOOD)), inner),
    max_leaves=10,
)


@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
def test_whatever_it_is_it_is_read_or_refused(content: bytes):
    with pytest.raises((errors.ReleaseFormatError, errors.ReleaseTooNewError)):
        description.parse(content)
