"""An update image that is none: the error says what it is, or what is there instead of what is missing."""

import gzip
import lzma
from pathlib import Path

import pytest

from image.test_differential import compress
from manageboot.errors import ImageFormatError, ImageMemberError, ImageTruncatedError, ManagebootError
from manageboot.image import archive, open_image
from support.archives import END, header, member, read_path
from support.contents import EXT4, FOREIGN, HTML, LFS_POINTER, PASSING, TAR

BOOT = member("boot.img", b"boot")
ROOT = member("root.img", b"root")
DISK = FOREIGN["whole disk, GPT"][1]
# These are compressed archives, and read.
READ = {"gzip", "zstd", "zstd after a skippable frame", "xz", "bzip2", "tar", "tar, POSIX", "tar, v7"}


def error_of(data: bytes, directory: Path) -> ManagebootError:
    path = directory / "update-img.tar"
    path.write_bytes(data)
    with pytest.raises(ManagebootError) as caught:
        read_path(path)
    assert str(caught.value).startswith(f"cannot read {path}: ")
    return caught.value


@pytest.mark.parametrize("name", [name for name in FOREIGN if name not in READ])
def test_what_is_no_archive_is_named(name: str, tmp_path: Path):
    what, data = FOREIGN[name]
    error = error_of(data, tmp_path)
    assert type(error) is ImageFormatError
    assert f": it is {what}" in str(error)
    assert str(error).endswith("and neither tar, zstd, gzip, xz nor bzip2")
    assert error.hint


@pytest.mark.parametrize("name", ["ext4", "squashfs", "FAT", "btrfs", "LUKS", "ISO 9660 that boots"])
def test_a_file_system_is_named(name: str, tmp_path: Path):
    what, data = PASSING[name]
    error = error_of(data, tmp_path)
    assert f": it is {what}, and neither tar" in str(error)
    assert error.hint == "give an update image, or a boot image and a root image"


def test_text_is_shown_as_text(tmp_path: Path):
    assert "it is an HTML page that begins with '<!DOCTYPE HTML PUBLIC" in str(error_of(HTML, tmp_path))
    assert "it is a Git LFS pointer that begins with 'version https://git-lfs" in str(error_of(LFS_POINTER, tmp_path))
    assert "it is text that begins with 'Not Found'" in str(error_of(b"Not Found\n", tmp_path))


def test_a_whole_disk_is_not_the_update_image(tmp_path: Path):
    assert error_of(DISK, tmp_path).hint == "give the update image instead of the disk image"


STREAMS = {"gzip": gzip.compress, "xz": lzma.compress, "zstd": lambda data: compress(data, ["zstd", "-q"])}


@pytest.mark.parametrize("name", [name for name in FOREIGN if not name.startswith("tar")])
@pytest.mark.parametrize("stream", STREAMS)
def test_what_a_stream_holds_is_named(name: str, stream: str, tmp_path: Path):
    what, data = FOREIGN[name]
    named = "compress" if what == "compressed with compress" else what.removesuffix("-compressed")
    text = str(error_of(STREAMS[stream](data), tmp_path))
    assert text.endswith(f": inside the {stream} stream is {named}, not tar")


@pytest.mark.parametrize(
    ("members", "cause", "hint"),
    [
        (
            member("BOOT.IMG", EXT4) + member("ROOT.IMG", b"r"),
            "it has no boot.img and no root.img, but BOOT.IMG (an ext4 file system) and ROOT.IMG",
            "capital and small letters count: call it boot.img",
        ),
        (
            member("out/boot.img", b"b") + member("out/root.img", b"r"),
            "it has no boot.img and no root.img, but out/boot.img and out/root.img",
            "pack the images without their folder, as tar -C out does",
        ),
        (
            BOOT + member("./build/out/root.img", b"r"),
            "it has no root.img, but build/out/root.img",
            "pack the images without their folder, as tar -C build/out does",
        ),
        (
            member("update-img.tar", TAR),
            "it has no boot.img and no root.img, but update-img.tar (a tar archive)",
            "unpack it, and give update-img.tar, if that is the update image",
        ),
        (
            member("update-img.tar.gz", gzip.compress(TAR)) + member("SHA256SUMS", b"00 update-img.tar.gz\n"),
            "it has no boot.img and no root.img, but update-img.tar.gz (gzip-compressed) and SHA256SUMS (text)",
            "unpack it, and give update-img.tar.gz, if that is the update image",
        ),
        (
            member("disk.img", DISK),
            "it has no boot.img and no root.img, but disk.img (a whole disk with a GPT)",
            "give the update image instead of the disk image",
        ),
        (
            b"".join(member(f"file {number}", b"\x80") for number in range(9)),
            "it has no boot.img and no root.img, but file 0 and file 1 and file 2 and 6 others",
            ImageMemberError.usual_hint,
        ),
        (
            b"".join(member(f"file {number}", b"\x80") for number in range(9)) + member("Boot.img", b"b") + ROOT,
            "it has no boot.img, but Boot.img and file 0 and file 1 and 7 others",
            "capital and small letters count: call it boot.img",
        ),
        (
            member("VERSION.TXT", b"1") + header("dir", 0, b"5"),
            "it has no boot.img and no root.img",
            ImageMemberError.usual_hint,
        ),
    ],
    # Some releases of pytest would take the archives, and gzip notes the time in them.
    ids=["capitals", "folder", "./folder", "tar", "tar.gz", "disk", "many", "many and capitals", "nothing"],
)
def test_what_is_there_instead_is_named(members: bytes, cause: str, hint: str, tmp_path: Path):
    error = error_of(members + END, tmp_path)
    assert type(error) is ImageMemberError
    assert str(error).endswith(f": {cause}")
    assert error.hint == hint


def test_what_is_skipped_is_read_on_rightly(tmp_path: Path):
    """A look at its beginning is no reading of it, be it longer or shorter than the look."""
    path = tmp_path / "image.tar"
    for size in (1, 511, 131_072, 131_073, 400_000):
        path.write_bytes(member("extra", b"\x90" * size) + BOOT + ROOT + END)
        assert read_path(path) == {"boot.img": b"boot", "root.img": b"root"}
        with open_image([str(path)]) as image:
            assert [one.name for one in image.members()] == ["boot.img", "root.img"]
            assert image.ignored == ["extra"]


def test_the_overlay_of_a_development_image_is_skipped(tmp_path: Path):
    """An image for another purpose lies beside them; what it costs is time, and nothing before it is void for it."""
    path = tmp_path / "image.tar.zst"
    zeros = compress(bytes(128 << 20), ["zstd", "-q", "-1"])
    with path.open("wb") as file:
        file.write(compress(BOOT + ROOT, ["zstd", "-q"]))
        for name, pieces in (("overlay.img", 16), ("overlay.raw", 1)):
            size = b"\x80" + (pieces * (128 << 20)).to_bytes(11, "big")
            file.write(compress(header(name, size), ["zstd", "-q"]) + zeros * pieces)
        file.write(compress(END, ["zstd", "-q"]))
    with open_image([str(path)]) as image:
        assert {one.name: bytes(one.head) for one in image.members()} == {"boot.img": b"boot", "root.img": b"root"}
        assert list(image.ignored) == ["overlay.img", "overlay.raw"]


@pytest.mark.parametrize(("name", "kind"), [("overlay.img", b"0"), ("VERSION.TXT", b"0"), ("a label", b"V")])
@pytest.mark.parametrize(("more", "is_refused"), [(0, False), (1, True)])
def test_how_much_may_be_skipped(tmp_path: Path, more: int, name: str, kind: bytes, *, is_refused: bool):
    path = tmp_path / "image.tar.zst"
    size = b"\x80" + (archive.MAX_IGNORED_SIZE + more).to_bytes(11, "big")
    path.write_bytes(compress(BOOT + ROOT + header(name, size, kind), ["zstd", "-q"]))
    # It ends where that member begins; up to the limit, that is what is wrong with it.
    expected = ImageMemberError if is_refused else ImageTruncatedError
    with pytest.raises(expected), open_image([str(path)]) as image:
        for member in image.members():
            _ = member.head
