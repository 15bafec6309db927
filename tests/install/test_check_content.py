"""An installation of what can't be in a slot: refused before anything is destroyed, or never to be committed."""

from pathlib import Path

import pytest

from support.archives import END, member
from support.contents import EXT4, FOREIGN
from support.images import MIB, make_update, pack
from support.loop import run
from support.node import LoopNode

pytestmark = pytest.mark.devices

GOOD = {"boot.img": EXT4, "root.img": b"hsqs" + bytes(range(256)) * 40}
KINDS = ["gzip", "qcow2", "whole disk, GPT", "HTML", "tar", "Git LFS pointer"]


@pytest.fixture
def installed(node: LoopNode, tmp_path: Path) -> LoopNode:
    """A node whose passive slot holds a whole system."""
    node.ok("upgrade-install", make_update(tmp_path / "before"))
    return node


def images(directory: Path, **changed: bytes) -> list[Path]:
    """Write a boot and a root image, of which `boot` or `root` may be another one."""
    directory.mkdir(exist_ok=True)
    for name, data in {**GOOD, **{f"{role}.img": data for role, data in changed.items()}}.items():
        (directory / name).write_bytes(data)
    return [directory / name for name in GOOD]


def is_untouched(node: LoopNode, tmp_path: Path) -> bool:
    boot = (tmp_path / "before" / "boot.img").read_bytes()
    return node.record("B") == "installed" and node.device_bytes("B", "boot")[: len(boot)] == boot


def test_two_image_files_are_refused_before_anything_is_destroyed(installed: LoopNode, tmp_path: Path):
    for kind in KINDS:
        what, data = FOREIGN[kind]
        for role in ("boot", "root"):
            paths = images(tmp_path / "new", **{role: data})
            line = installed.fails("upgrade-install", *paths, status=65, code="IMAGE_CONTENT")
            assert f"{role}.img is itself {what}" in line
    assert is_untouched(installed, tmp_path)


@pytest.mark.parametrize("members", [("boot.img", "root.img"), ("VERSION.TXT", "boot.img", "root.img")])
def test_an_archive_is_refused_for_its_first_image_before_anything_is_destroyed(
    installed: LoopNode, tmp_path: Path, members: tuple[str, ...]
):
    for kind in KINDS:
        what, data = FOREIGN[kind]
        images(tmp_path / "new", boot=data)
        (tmp_path / "new" / "VERSION.TXT").write_text("7\n")
        archive = pack(tmp_path / "new", *members)
        line = installed.fails("upgrade-install", archive, status=65, code="IMAGE_CONTENT")
        assert f"boot.img is itself {what}" in line
        assert is_untouched(installed, tmp_path)


def test_an_archive_is_refused_for_another_image_before_that_is_written(installed: LoopNode, tmp_path: Path):
    before = installed.device_bytes("B", "root")
    for kind in KINDS:
        what, data = FOREIGN[kind]
        images(tmp_path / "new", root=data)
        archive = pack(tmp_path / "new", "boot.img", "root.img")
        line = installed.fails("upgrade-install", archive, status=65, code="IMAGE_CONTENT")
        assert f"root.img is itself {what}" in line
        assert installed.device_bytes("B", "root") == before
        assert not any(installed.device_bytes("B", "boot")[: 128 << 10])
        assert f"is itself {what}" in installed.status()["slots"]["B"]["record"]["failure"]
    installed.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")


def sparse(path: Path, size: int) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


@pytest.mark.parametrize("form", ["holes", "dense", "files"])
def test_zeros_are_never_called_installed(installed: LoopNode, tmp_path: Path, form: str):
    directory = tmp_path / "new"
    paths = images(directory, root=bytes(3 * MIB))
    if form != "dense":
        sparse(directory / "root.img", 3 * MIB)
    given = [pack(directory, "boot.img", "root.img")] if form != "files" else paths
    if form == "dense":
        given = [directory / "dense.tar"]
        run("tar", "-cf", given[0], "-C", directory, "boot.img", "root.img")
    assert "all zeros" in installed.fails("upgrade-install", *given, status=65, code="IMAGE_CONTENT")
    if form == "files":
        assert is_untouched(installed, tmp_path)
    else:
        installed.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")
    assert "all zeros" in installed.fails("inspect", *given, status=65, code="IMAGE_CONTENT")


def test_zeros_at_the_begin_of_boot_are_refused_before_anything_is_destroyed(installed: LoopNode, tmp_path: Path):
    paths = images(tmp_path / "new", boot=bytes(128 << 10) + b"data")
    for given in ([pack(tmp_path / "new", "boot.img", "root.img")], paths):
        line = installed.fails("upgrade-install", *given, status=65, code="IMAGE_MEMBER")
        assert "boot.img: it begins with 131072 bytes of zeros" in line
        assert is_untouched(installed, tmp_path)


def test_one_image_for_both(installed: LoopNode, tmp_path: Path):
    boot, root = images(tmp_path / "new", root=EXT4)
    line = installed.fails("upgrade-install", boot, boot, status=65, code="IMAGE_CONTENT")
    assert f"{boot}: root.img is the same file as boot.img" in line
    assert is_untouched(installed, tmp_path)
    for given in ([boot, root], [pack(tmp_path / "new", "boot.img", "root.img")]):
        line = installed.fails("upgrade-install", *given, status=65, code="IMAGE_CONTENT")
        assert "root.img: it is the same as boot.img" in line
        assert installed.record("B") == "void"
        assert "the same as boot.img" in installed.fails("inspect", *given, status=65, code="IMAGE_CONTENT")


def test_who_knows_better_may_install_it(node: LoopNode, tmp_path: Path):
    node.write_config(install="check_content = false")
    data = FOREIGN["gzip"][1]
    paths = images(tmp_path / "new", root=data)
    for given in (paths, [pack(tmp_path / "new", "boot.img", "root.img")]):
        node.ok("upgrade-install", *given)
        assert node.device_bytes("B", "root")[: len(data)] == data
        assert "gzip-compressed" in node.ok("inspect", *given)
    sparse(tmp_path / "new" / "root.img", MIB)
    node.ok("upgrade-install", *paths)
    assert not any(node.device_bytes("B", "root")[:MIB])


def test_inspect_says_it_as_well(node: LoopNode, tmp_path: Path):
    for kind in KINDS:
        what, data = FOREIGN[kind]
        paths = images(tmp_path / "new", root=data)
        for given in (paths, [pack(tmp_path / "new", "boot.img", "root.img")]):
            line = node.fails("inspect", *given, status=65, code="IMAGE_CONTENT")
            assert f"root.img is itself {what}" in line


def test_the_name_of_a_member_makes_no_line(node: LoopNode, tmp_path: Path):
    path = tmp_path / "update.tar"
    forged = member(b"x\nversion  9\x1b[2J", b"x")
    path.write_bytes(forged + member("boot.img", EXT4) + member("root.img", b"hsqs" * 300) + END)
    lines = node.ok("inspect", path).splitlines()
    assert "ignored  x\\x0aversion  9\\x1b[2J" in lines
    assert [line for line in lines if line.startswith("version")] == ["version  unknown"]


def test_inspect_names_what_it_knows(node: LoopNode, tmp_path: Path):
    shown = node.ok("inspect", *images(tmp_path / "new"))
    assert "an ext4 file system\n" in shown
    assert "a squashfs file system\n" in shown
    assert "content unknown\n" in node.ok("inspect", make_update(tmp_path / "unknown"))


@pytest.mark.parametrize(
    ("content", "remark"),
    [
        (
            "1\nmanageboot: error: forged\n",
            "VERSION.TXT is not one line of text: character 1 of it is U+000A",
        ),
        ("x" * 5000, "VERSION.TXT has 5000 bytes, and 4096 are allowed"),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_a_version_that_can_not_be_read_voids_no_slot(
    node: LoopNode, tmp_path: Path, content: str, remark: str, first: bool
):
    images(tmp_path / "new")
    (tmp_path / "new" / "VERSION.TXT").write_text(content)
    members = ["boot.img", "root.img"]
    members.insert(0 if first else 2, "VERSION.TXT")
    archive = pack(tmp_path / "new", *members)
    done = node.run("upgrade-install", archive, "--progress", "none")
    assert done.returncode == 0
    assert remark in done.stderr
    assert "; the version is unknown\n" in done.stderr
    assert "forged" not in done.stderr
    record = node.status()["slots"]["B"]["record"]
    assert (record["state"], record.get("version")) == ("installed", None)
    node.ok("upgrade-commit")
    assert f"remark   {remark}" in node.ok("inspect", archive)
    assert '"version": null' in node.ok("inspect", "--json", archive)


def test_a_volume_label_is_told(node: LoopNode, tmp_path: Path):
    images(tmp_path / "new")
    archive = tmp_path / "labelled.tar"
    run("tar", "--format=gnu", "-V", "IC-OS 7", "-cf", archive, "-C", tmp_path / "new", "boot.img", "root.img")
    done = node.run("upgrade-install", archive, "--progress", "none")
    assert done.returncode == 0
    assert "member IC-OS 7 is a volume label and was skipped\n" in done.stderr
