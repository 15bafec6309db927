"""Images that no slot can hold are refused, in both forms and for each role, and by name."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from manageboot.errors import ImageContentError
from manageboot.image import UpdateImage, open_image
from manageboot.image.acceptance import Whole, check_whole, checked
from support.archives import END, member, old_gnu, read_image
from support.contents import EXT4, FOREIGN, PASSING

ROLES = ("boot.img", "root.img", "state.img")
GOOD = {"boot.img": EXT4, "root.img": b"hsqs" + b"r" * 5000, "state.img": b"s" * 700}


def archive(images: dict[str, bytes], directory: Path) -> UpdateImage:
    path = directory / "image.tar"
    path.write_bytes(b"".join(member(name, data) for name, data in images.items()) + END)
    return open_image([str(path)], list(images))


def files(images: dict[str, bytes], directory: Path) -> UpdateImage:
    paths = [directory / name for name in ("boot.img", "root.img")]
    for path in paths:
        path.write_bytes(images[path.name])
    return open_image([str(path) for path in paths])


class Checked:
    """An update image whose members are looked at."""

    def __init__(self, update: UpdateImage) -> None:
        self.given: list[str] = []
        self._update = update

    def members(self):
        for one in checked(self._update):
            self.given.append(one.name)
            yield one


def refusal(update: UpdateImage) -> tuple[ImageContentError, list[str]]:
    """Read it; return the error, and the images that came before it."""
    looked = Checked(update)
    with update, pytest.raises(ImageContentError) as caught:
        read_image(looked)
    assert caught.value.code == "IMAGE_CONTENT"
    return caught.value, looked.given


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", FOREIGN)
def test_in_an_archive(name: str, role: str, tmp_path: Path):
    what, data = FOREIGN[name]
    error, given = refusal(archive({**GOOD, role: data}, tmp_path))
    path = tmp_path / "image.tar"
    assert str(error) == f"cannot read {path}: {role} is itself {what}, and would be written as it is"
    assert "install.check_content = false" in error.hint
    assert given == list(ROLES[: ROLES.index(role)])  # nothing of it was given to be written


@pytest.mark.parametrize("role", ["boot.img", "root.img"])
@pytest.mark.parametrize("name", FOREIGN)
def test_as_a_file(name: str, role: str, tmp_path: Path):
    what, data = FOREIGN[name]
    error, given = refusal(files({**GOOD, role: data}, tmp_path))
    assert str(error) == f"cannot read {tmp_path / role}: {role} is itself {what}, and would be written as it is"
    assert given == []


@pytest.mark.parametrize("form", [archive, files])
@pytest.mark.parametrize("name", [name for name in PASSING if "zero" not in name])
def test_what_may_be_in_a_slot_passes(name: str, form: Callable[[dict[str, bytes], Path], UpdateImage], tmp_path: Path):
    _what, data = PASSING[name]
    images = {"boot.img": EXT4 + b"more", "root.img": data}
    with form(images, tmp_path) as update:
        assert read_image(Checked(update)) == images


def test_without_the_check_all_passes(tmp_path: Path):
    images = {"boot.img": FOREIGN["HTML"][1], "root.img": FOREIGN["xz"][1]}
    for form in (archive, files):
        with form(images, tmp_path) as update:
            assert read_image(update) == images


def test_the_head_of_a_sparse_image_may_lie_in_a_hole(tmp_path: Path):
    """What its map has is looked at, wherever it is stored."""
    path = tmp_path / "image.tar"
    disk = FOREIGN["whole disk, GPT"][1]
    extents = [(0, 512), (512, 512)]
    for root, good in (
        (old_gnu("root.img", 1 << 20, disk[:1024], extents), False),
        (old_gnu("root.img", 1 << 20, disk[512:1024], [(512, 512)]), False),
        (old_gnu("root.img", 1 << 20, EXT4[1024:2048], [(1024, 1024)]), True),
        (old_gnu("root.img", 1 << 20, b"\1" * 512, [(1 << 19, 512)]), True),
        (old_gnu("root.img", 1 << 20, b"", []), False),
    ):
        path.write_bytes(member("boot.img", EXT4) + root + END)
        with open_image([str(path)]) as update:
            if good:
                assert set(read_image(Checked(update))) == {"boot.img", "root.img"}
            else:
                refusal(update)


def test_an_image_that_is_a_hole_is_refused_before_it_is_read(tmp_path: Path):
    path = tmp_path / "image.tar"
    path.write_bytes(member("boot.img", EXT4) + old_gnu("root.img", 1 << 40, b"", []) + END)
    error, given = refusal(open_image([str(path)]))
    assert str(error) == f"cannot read {path}: root.img is all zeros"
    assert given == ["boot.img"]


@pytest.mark.parametrize("how", ["the path", "a hard link", "a symbolic link", "another spelling"])
def test_one_file_for_both(how: str, tmp_path: Path):
    boot, other = tmp_path / "boot.img", tmp_path / "other"
    boot.write_bytes(EXT4)
    match how:
        case "the path":
            other = boot
        case "a hard link":
            os.link(boot, other)
        case "a symbolic link":
            other.symlink_to(boot)
        case "another spelling":
            other = tmp_path / "." / ".." / tmp_path.name / "boot.img"
    error, given = refusal(open_image([str(boot), str(other)]))
    assert str(error) == f"cannot read {other}: root.img is the same file as boot.img"
    assert error.hint == "give the boot image, then the root image"
    assert given == []


def test_what_only_whole_images_tell():
    boot, root = Whole(10, False, "b"), Whole(10, False, "r")
    check_whole({"boot.img": boot, "root.img": root, "state.img": boot})
    with pytest.raises(ImageContentError, match=r"^cannot use state\.img: it is all zeros$"):
        check_whole({"boot.img": boot, "root.img": root, "state.img": Whole(10, True, "0")})
    with pytest.raises(ImageContentError, match=r"^cannot use root\.img: it is the same as boot\.img$"):
        check_whole({"root.img": boot, "boot.img": boot})
