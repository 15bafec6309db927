"""Whatever form an update image comes in, the devices hold what GNU tar and zstd make of it, byte for byte."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from support.images import MIB, make_update
from support.loop import run
from support.node import LoopNode

pytestmark = pytest.mark.devices

FORMS = ["sparse", "dense", "dense in zstd frames", "files with holes", "files without holes", "a pipe"]


@pytest.fixture(scope="module")
def update(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_update(tmp_path_factory.mktemp("update"), boot_size=4 * MIB + 300, root_size=11 * MIB + 1)


def install(node: LoopNode, update: Path, form: str, directory: Path) -> None:
    images = [update.with_name(name) for name in ("boot.img", "root.img")]
    dense = directory / "image.bin"
    match form:
        case "sparse":
            node.ok("upgrade-install", update)
        case "dense":
            run("tar", "-cf", dense, "-C", update.parent, "boot.img", "root.img", "VERSION.TXT")
            node.ok("upgrade-install", dense)
        case "dense in zstd frames":
            tar = subprocess.run(
                ["tar", "-c", "-C", update.parent, "boot.img", "root.img"], check=True, capture_output=True
            ).stdout
            with dense.open("wb") as file:
                for at in range(0, len(tar), 3_000_001):
                    part = tar[at : at + 3_000_001]
                    file.write(subprocess.run(["zstd", "-c"], check=True, input=part, stdout=-1).stdout)
            node.ok("upgrade-install", dense)
        case "files with holes":
            node.ok("upgrade-install", *images)
        case "files without holes":
            copies = [directory / image.name for image in images]
            for image, copy in zip(images, copies, strict=True):
                run("cp", "--sparse=never", image, copy)
            node.ok("upgrade-install", *copies)
        case "a pipe":
            with subprocess.Popen(["cat", update], stdout=subprocess.PIPE) as cat:
                node.ok("upgrade-install", "-", stdin=cat.stdout)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_what_gnu_tar_unpacks(node: LoopNode, update: Path, tmp_path: Path, form: str):
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    run("tar", "--zstd", "-xf", update, "-C", unpacked)
    old = {part: node.device_bytes("B", part) for part in ("boot", "root")}
    install(node, update, form, tmp_path)
    for part, before in old.items():
        image = (unpacked / f"{part}.img").read_bytes()
        # What follows the image in its last sector is zeros; what follows that is not ours.
        sector_end = -(-len(image) // 512) * 512
        expected = image + bytes(sector_end - len(image)) + before[sector_end:]
        found = node.device_bytes("B", part)
        assert hashlib.sha256(found).digest() == hashlib.sha256(expected).digest(), part
