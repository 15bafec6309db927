"""The disk that the harness makes, as sgdisk and GRUB see it, against the contract of IC-OS."""

import re
import subprocess
from pathlib import Path

import pytest

from qemu_harness import layout
from qemu_harness.disk import partition_disk
from qemu_harness.layout import GUESTOS
from qemu_harness.loader import GRUB_CFG
from qemu_harness.node import NodeImages
from qemu_harness.offline import read_environment, read_file

CONTRACT = {
    1: ("esp", "b78084e2-3363-1346-8c25-d426f26b8928"),
    2: ("grub", "6788e4cf-f456-104e-9a34-a2c58cfb0ee6"),
    3: ("config", "a5ba3816-beaa-d74d-993e-cfa5aa6ba1f6"),
    4: ("A_boot", "ddf618fe-7244-b446-a175-3296e6b9d02e"),
    5: ("A_root", "7c0a626e-e5ea-e543-b5c5-300eb8304db7"),
    6: ("A_var", "22d2f5a6-1e39-d247-81cf-90c95c113e21"),
    7: ("B_boot", "d5214e4f-f7b0-b945-9a9b-52b9188df4c5"),
    8: ("B_root", "a78bc3a8-376c-054a-96e7-3904b915d0c5"),
    9: ("B_var", "2237d1d1-ce96-584e-8ec5-8ae6661faae9"),
}
SGDISK = "/usr/sbin/sgdisk"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    if not Path(SGDISK).exists():
        pytest.skip("Debian package gdisk is not installed")
    disk = tmp_path / "disk.img"
    partition_disk(disk)
    return disk


def test_names_and_identifiers_are_those_of_the_contract(disk: Path) -> None:
    for number, (name, partuuid) in CONTRACT.items():
        text = subprocess.check_output([SGDISK, f"--info={number}", disk], text=True)
        assert re.search(r"Partition name: '(.*)'", text).group(1) == name
        assert re.search(r"Partition unique GUID: (\S+)", text).group(1).lower() == partuuid


def test_partitions_lie_where_the_layout_says(disk: Path) -> None:
    """The images are copied to these places, so sgdisk has to agree on each."""
    table = subprocess.check_output([SGDISK, "--print", disk], text=True)
    rows = re.findall(r"^ +(\d+) +(\d+) +(\d+) ", table, re.MULTILINE)
    found = [(int(first) * 512, (int(last) - int(first) + 1) * 512) for _, first, last in rows]
    assert found == [(GUESTOS.offset(partition.name), partition.size) for partition in GUESTOS.partitions]
    assert subprocess.check_output([SGDISK, "--verify", disk], text=True).count("No problems found") == 1


@pytest.mark.qemu
def test_grub_reads_what_it_needs_from_a_new_disk(node_images: NodeImages) -> None:
    assert read_file(node_images.disk, "grub", "/grub.cfg") == GRUB_CFG.read_bytes()
    assert read_environment(node_images.disk) == {}
    arguments = read_file(node_images.disk, "A_boot", "/boot_args").decode().splitlines()
    for slot, number, line in zip("AB", (5, 8), arguments, strict=True):
        assert line.startswith(f'BOOT_ARGS_{slot}="root=PARTUUID={CONTRACT[number][1]} ro console=ttyS0 ')
        assert line.endswith(f' dfinity.system={slot}"')
    assert read_file(node_images.disk, "A_root", "/opt/ic/share/version.txt") == b"0.1.0-v1\n"
    assert read_file(node_images.disk, "A_root", "/opt/ic/share/os-type") == b"guestos\n"


@pytest.mark.qemu
def test_slot_b_of_a_new_disk_is_empty(node_images: NodeImages) -> None:
    with node_images.disk.open("rb") as file:
        file.seek(GUESTOS.offset("B_boot"))
        left = layout.BOOT_SIZE + layout.ROOT_SIZE + layout.VAR_SIZE
        while left:
            chunk = file.read(min(left, layout.MIB))
            assert not any(chunk)
            left -= len(chunk)
