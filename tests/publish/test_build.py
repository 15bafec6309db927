"""What `release build` makes: the images come back from it byte for byte, and the same input makes the same bytes."""

import io
import json
import os
import resource
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from manageboot import errors
from manageboot.disk.digest import WINDOW_BYTES
from manageboot.publish import build, packing
from manageboot.publish.build import Plan
from manageboot.publish.cutting import RUN_BLOCKS_MIN, Cutter
from manageboot.release import description
from manageboot.release.frames import Unpacker
from manageboot.release.index import Index, verified
from manageboot.release.layout import BLOCK_BYTES
from manageboot.release.windows import WindowReader

BOOT = b"\x12boot" * 100_001
TAIL = b"\x01the end"


def images_in(directory: Path) -> tuple[Path, Path]:
    """Make a boot image with zeros at its end, and a sparse root image of no whole blocks."""
    boot, root = directory / "boot.img", directory / "root.img"
    boot.write_bytes(BOOT + bytes(3 * WINDOW_BYTES))
    with root.open("wb") as file:
        file.write(os.urandom(1) + b"\x02" * 5000)
        file.seek(7 * WINDOW_BYTES + 12_288)
        file.write(b"\x03data" * 90_000)
        file.seek(20 * WINDOW_BYTES + 12)
        file.write(TAIL)
    return boot, root


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    boot, root = images_in(tmp_path)
    return str(boot), str(root)


def made(output: Path, images: tuple[str, ...], **named: object) -> Path:
    """Build a release at a low level, and return its directory."""
    output.mkdir(exist_ok=True)
    plan = {"output": str(output), "release_index": 1, "level": 1, "threads": 2, "style": "none", **named}
    build.build(images, Plan(**plan))
    [directory] = [path for path in output.iterdir() if not path.name.startswith(".")]
    return directory


def index_of(directory: Path) -> Index:
    release = description.parse((directory / "release.json").read_bytes())
    return verified((directory / "release.idx").read_bytes(), release)


def unpacked(directory: Path) -> dict[str, bytes]:
    """Put the images of a release together, as a node would."""
    index, pack = index_of(directory), (directory / "full.pack").read_bytes()
    reader = WindowReader(index, lambda offset, size: pack[offset : offset + size], Unpacker(index))
    images = {}
    for at, image in enumerate(index.images):
        content = bytearray(image.size)
        for window in index.windows(at):
            buffer = memoryview(bytearray(WINDOW_BYTES))
            reader.fill(image, window, buffer)
            begin, length = window.number * WINDOW_BYTES, image.length(window.number)
            content[begin : begin + length] = buffer[:length]
        images[image.role] = bytes(content)
    return images


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_the_images_come_back_from_the_pack_and_from_the_archive(tmp_path: Path, pair: tuple[str, str]):
    directory = made(tmp_path / "out", pair, version="1.0")
    assert directory.name == "1.0"
    assert set(contents(directory)) == {"release.json", "release.idx", "full.pack", "update-img.tar.zst"}
    images = {Path(path).stem: Path(path).read_bytes() for path in pair}
    assert unpacked(directory) == images
    subprocess.run(
        ["tar", "--zstd", "-xf", directory / "update-img.tar.zst", "-C", tmp_path / "out"],
        check=True,
        env={**os.environ, "ZSTD_CLEVEL": "1"},
    )
    assert {role: (tmp_path / "out" / f"{role}.img").read_bytes() for role in images} == images
    assert (tmp_path / "out" / "VERSION.TXT").read_text() == "1.0\n"


def test_the_archive_is_read_by_python_too(tmp_path: Path, pair: tuple[str, str]):
    archive = (made(tmp_path / "out", pair, version="1.0") / "update-img.tar.zst").read_bytes()
    plain = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj().decompress(archive)
    with tarfile.open(fileobj=io.BytesIO(plain)) as members:
        assert [(member.name, member.size, member.issparse(), member.mtime) for member in members] == [
            ("boot.img", len(BOOT) + 3 * WINDOW_BYTES, True, 0),
            ("root.img", 20 * WINDOW_BYTES + 12 + len(TAIL), True, 0),
            ("VERSION.TXT", 4, False, 0),
        ]


def test_threads_holes_and_times_make_no_difference(tmp_path: Path, pair: tuple[str, str]):
    expected = contents(made(tmp_path / "one", pair, version="1.0", threads=1))
    assert contents(made(tmp_path / "many", pair, version="1.0", threads=5)) == expected
    for path in map(Path, pair):
        path.write_bytes(path.read_bytes())  # no hole is left
        os.utime(path, (1, 1))
    assert contents(made(tmp_path / "dense", pair, version="1.0")) == expected


def test_a_given_archive_stays_as_it_is_and_makes_the_same_pack(tmp_path: Path, pair: tuple[str, str]):
    from_images = made(tmp_path / "one", pair, version="2.0")
    for form in ("--zstd", "--gzip", "--xz", "--bzip2", "--no-recursion"):
        (tmp_path / "VERSION.TXT").write_text("2.0\n")
        archive = tmp_path / f"update{form}"
        members = ["boot.img", "root.img", "VERSION.TXT"]
        subprocess.run(["tar", form, "--sparse", "-cf", archive, "-C", tmp_path, *members], check=True)
        directory = made(tmp_path / form, (str(archive),))
        ending = {"--zstd": ".zst", "--gzip": ".gz", "--xz": ".xz", "--bzip2": ".bz2"}.get(form, "")
        assert (directory / f"update-img.tar{ending}").read_bytes() == archive.read_bytes()
        for name in ("full.pack", "release.idx"):
            assert (directory / name).read_bytes() == (from_images / name).read_bytes()


def test_release_json_has_what_was_asked_for(tmp_path: Path, pair: tuple[str, str]):
    requires = description.Requirements("0.2.0", ("guestos",), ("x1", "x2"))
    directory = made(
        tmp_path / "out", pair, version="1.0+b", release_index=7, min_index=3, built=1_700_000_000, requires=requires
    )
    release = description.parse((directory / "release.json").read_bytes())
    assert (release.version, release.release_index, release.min_index, release.built) == ("1.0+b", 7, 3, 1_700_000_000)
    assert release.requires == requires
    assert [(image.role, image.size) for image in release.images] == [
        ("boot", len(BOOT) + 3 * WINDOW_BYTES),
        ("root", 20 * WINDOW_BYTES + 12 + len(TAIL)),
    ]


NOISE = os.urandom(2 * WINDOW_BYTES)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 511), st.integers(1, 300), st.sampled_from([0, 3, 0, 0])), min_size=1, max_size=8
    ).map(
        lambda runs: b"".join(
            bytes(blocks * BLOCK_BYTES) if zero else NOISE[first * BLOCK_BYTES : (first + blocks) * BLOCK_BYTES]
            for first, blocks, zero in runs
        )
    )
)
def test_a_cut_gives_back_what_was_cut(content: bytes):
    cutter, frames = Cutter(), []
    for offset in range(0, len(content), WINDOW_BYTES):
        window = bytearray(content[offset : offset + WINDOW_BYTES])
        cut = cutter.cut(memoryview(window))
        if cut.data:
            frames.append(cut.data)
        parts = [
            bytes(blocks * BLOCK_BYTES)
            if frame is None
            else frames[frame][first * BLOCK_BYTES : (first + blocks) * BLOCK_BYTES]
            for blocks, frame, first in cut.operations
        ]
        assert b"".join(parts) == window
        foreign = [one.blocks for one in cut.operations if one.frame is not None and one.frame < len(frames) - 1]
        assert len({one.frame for one in cut.operations} - {None}) <= 1 + len(window) // BLOCK_BYTES // RUN_BLOCKS_MIN
        assert not foreign or len(cut.data) + sum(foreign) * BLOCK_BYTES <= WINDOW_BYTES


def test_duplicates_are_in_the_pack_once(tmp_path: Path):
    boot, root = tmp_path / "boot.img", tmp_path / "root.img"
    boot.write_bytes(b"\x01" * BLOCK_BYTES + NOISE)
    root.write_bytes(b"\x02" * 5 * BLOCK_BYTES + NOISE + b"\x03" + NOISE[1:])
    directory = made(tmp_path / "out", (str(boot), str(root)), version="1.0")
    assert unpacked(directory) == {"boot": boot.read_bytes(), "root": root.read_bytes()}
    held = sum(frame.blocks for frame in index_of(directory).frames()) * BLOCK_BYTES
    assert held < len(NOISE) + 2 * RUN_BLOCKS_MIN * BLOCK_BYTES + 20 * BLOCK_BYTES


def test_holes_are_not_read_and_memory_is_bounded(tmp_path: Path):
    """10 GiB with 40 MiB of data: reading it all would take seconds, and holding it gigabytes."""
    boot, root = tmp_path / "boot.img", tmp_path / "root.img"
    boot.write_bytes(BOOT)
    with root.open("wb") as file:
        for gibibyte in range(10):
            file.seek(gibibyte << 30)
            file.write(os.urandom(4 << 20))
        file.truncate(10 << 30)
    # What is read, and the highest memory, after what the interpreter takes.
    code = (
        "import resource, sys; from manageboot.__main__ import main; import manageboot.publish.build, zstandard\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10\n"
        "read = lambda: int(open('/proc/self/io').readline().split()[1]) >> 20\n"
        "before = peak(), read(); assert main() == 0; print(peak() - before[0], read() - before[1])"
    )
    command = [sys.executable, "-c", code, "release", "build", str(boot), str(root), "--output", str(tmp_path)]
    arguments = ["--index", "1", "--version", "1", "--level", "1", "--threads", "2"]
    done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
    memory_mib, read_mib = map(int, done.stdout.split())
    assert memory_mib < 300
    assert read_mib < 3 * 41 + 10  # the windows, then the archive's extents


@pytest.mark.parametrize(
    ("named", "kind", "cause"),
    [
        ({}, errors.UsageError, "nothing says which version it is: there is no VERSION.TXT"),
        ({"version": "../x"}, errors.UsageError, "'../x' can't be the name of a directory"),
        ({"version": "metadata"}, errors.UsageError, "'metadata' can't be the name of a directory"),
        ({"version": "1", "release_index": 0}, errors.UsageError, "index is not an integer from 1"),
        ({"version": "1", "min_index": 2}, errors.UsageError, "min_index is 2, more than index"),
        (
            {"version": "1", "requires": description.Requirements(agent="new")},
            errors.UsageError,
            "in requires, agent does not match",
        ),
        ({"version": "1", "roles": ("boot", "root", "data")}, errors.UsageError, "3 paths are given|2 paths"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(
    tmp_path: Path, pair: tuple[str, str], named: dict[str, object], kind: type[Exception], cause: str
):
    with pytest.raises(kind, match=cause):
        made(tmp_path / "out", pair, **named)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_release_is_not_replaced_nor_touched(tmp_path: Path, pair: tuple[str, str]):
    before = contents(made(tmp_path / "out", pair, version="1.0"))
    Path(pair[0]).write_bytes(b"another")
    with pytest.raises(errors.CreateError, match=r"^cannot make .*/out/1\.0: File exists$"):
        made(tmp_path / "out", pair, version="1.0")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.0"]
    assert contents(tmp_path / "out" / "1.0") == before


@pytest.mark.parametrize(
    ("boot", "root", "kind", "cause"),
    [
        (b"\x1f\x8b\x08" + bytes(5000), b"root", errors.ImageContentError, "boot.img is itself gzip-compressed"),
        (b"boot", b"boot", errors.ImageContentError, "root.img: it is the same as boot.img"),
        (b"boot", bytes(9000) + b"\0", errors.ImageContentError, "root.img is all zeros|it is all zeros"),
        (bytes(200_000) + b"boot", b"root", errors.ImageMemberError, "it begins with 131072 bytes of zeros"),
    ],
)
def test_what_no_node_would_install_is_refused(
    tmp_path: Path, boot: bytes, root: bytes, kind: type[Exception], cause: str
):
    (tmp_path / "boot.img").write_bytes(boot)
    (tmp_path / "root.img").write_bytes(root)
    with pytest.raises(kind, match=cause):
        made(tmp_path / "out", (str(tmp_path / "boot.img"), str(tmp_path / "root.img")), version="1")
    assert list((tmp_path / "out").iterdir()) == []


def test_other_content_is_taken_where_it_is_meant(tmp_path: Path):
    for name, content in (("boot.img", b"\x1f\x8b\x08" + b"1" * 5000), ("root.img", b"<html>")):
        (tmp_path / name).write_bytes(content)
    pair = (str(tmp_path / "boot.img"), str(tmp_path / "root.img"))
    directory = made(tmp_path / "out", pair, version="1", any_content=True)
    assert unpacked(directory)["root"] == b"<html>"


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(packing.Packer, "_compress", fail)
    with pytest.raises(MemoryError):
        made(tmp_path / "out", pair, version="1")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_that_is_full_is_told_and_nothing_is_left(tmp_path: Path, pair: tuple[str, str]):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256, limits[1]))
    try:
        with pytest.raises(errors.DeviceError, match=r"^cannot write .*/release\.idx at \d+: File too large"):
            made(tmp_path / "out", pair, version="1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("kind", ["pipe", "-", "nothing"])
def test_what_can_be_read_once_only_is_refused(tmp_path: Path, kind: str):
    os.mkfifo(tmp_path / "pipe")
    path = kind if kind == "-" else str(tmp_path / kind)
    with pytest.raises(errors.InputError, match=r"^cannot open "):
        made(tmp_path / "out", (path,))


def test_images_that_change_while_they_are_read_are_refused(
    tmp_path: Path, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
):
    """Between the pack and the archive."""
    real = build._check

    def change(*arguments: object) -> None:
        real(*arguments)
        with open(pair[1], "r+b") as file:
            file.seek(7 * WINDOW_BYTES + 12_288)
            file.write(b"other data")

    monkeypatch.setattr(build, "_check", change)
    with pytest.raises(errors.ImageFormatError, match=r"root.img: it was changed while it was read$"):
        made(tmp_path / "out", pair, version="1")


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "٣", "9" * 17])
def test_a_time_that_is_none_is_refused(text: str):
    with pytest.raises(errors.UsageError, match="SOURCE_DATE_EPOCH is "):
        build.environment_time({"SOURCE_DATE_EPOCH": text})


def test_the_command_line_builds_and_says_so(tmp_path: Path, pair: tuple[str, str]):
    command = [sys.executable, "-m", "manageboot", "release", "build", *pair, "--output", str(tmp_path)]
    options = ["--index", "9", "--version", "3", "--level", "1", "--progress", "json"]
    options += ["--system", "guestos", "--hardware", "x", "--agent", "0.1.0"]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run([*command, *options], check=True, capture_output=True, text=True, env=environment)
    *progress, said = done.stderr.splitlines()
    assert said.startswith(f"manageboot: {tmp_path}/3 holds release 3: ")
    assert {json.loads(line)["phase"] for line in progress} == {"pack", "archive"}
    release = description.parse((tmp_path / "3" / "release.json").read_bytes())
    assert release.requires == description.Requirements("0.1.0", ("guestos",), ("x",))
    assert release.built == 1_700_000_000
