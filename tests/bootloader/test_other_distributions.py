"""The kiosk of docs/other-distributions.md: its configuration and its grub.cfg, as they stand there, on one disk.

The agent is the real command line, on loop devices over the partitions; GRUB is grub-emu, on the disk itself.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from manageboot.bootloader.slots import SlotScript
from manageboot.protocol import Slot
from support.grubemu import FOUND, Grub, kernel_line
from support.images import MIB, make_image, pack
from support.loop import loop_device, run
from support.node import LoopNode

pytestmark = [pytest.mark.devices, pytest.mark.grub]

PAGE = (Path(__file__).parents[2] / "docs" / "other-distributions.md").read_text()
CONFIGS = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SCRIPT, TOP = re.findall(r"^```sh\n((?:#|set ).*?)^```", PAGE, re.MULTILINE | re.DOTALL)

ALIGNMENT = MIB
PARTITION_BYTES = 8 * MIB


def with_top(script: str, top: str) -> str:
    """Replace the lines at the top of a script by others for the same variables."""
    for line in top.splitlines():
        name = line.partition("=")[0]
        script, count = re.subn(rf"^{name}=.*$", lambda _, line=line: line, script, count=1, flags=re.MULTILINE)
        assert count == 1, line
    return script


def write_through(device: Path, data: bytes) -> None:
    """Write to a device, down to the disk that GRUB reads, whoever else has the device open."""
    with device.open("r+b") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class Kiosk(LoopNode):
    """The kiosk's disk: partition 2 is grub, and from 3 on come those of the slots."""

    def __init__(
        self, directory: Path, config: str, script: str, parts: tuple[str, ...], wiped: tuple[str, ...]
    ) -> None:
        super().__init__(directory)
        self.parts, self.wiped = parts, wiped
        self.disk = directory / "disk.img"
        self._text, self._script = config, script
        self._labels = [f"{part}-{slot}" for slot in "ab" for part in (*parts, *wiped)]

    def __enter__(self) -> Self:
        with self._stack as stack:
            self._make_disk()
            for number, label in enumerate(self._labels, 1):
                part, _, slot = label.partition("-")
                device = loop_device(self.disk, offset=self._offset(number), size=PARTITION_BYTES)
                self.devices[slot.upper()][part] = stack.enter_context(device)
                self._text = self._text.replace(f'"PARTLABEL={label}"', f'"{self.devices[slot.upper()][part]}"')
            self._stack = stack.pop_all()
        assert "PARTLABEL" not in self._text
        text = self._text.replace("/data/manageboot", str(self.state)).replace(
            "[boot]", f'[boot]\ngrubenv = "{self.grubenv}"\ncmdline = "{self.cmdline}"\nreboot_command = ["true"]'
        )
        self.config.write_text(f'{text}lock = "{self.lock}"\n')
        self.grubenv.parent.mkdir()
        run("grub-editenv", self.grubenv, "create")
        (self.directory / "factory").mkdir()
        self._file_system(self.directory / "factory", "factory")
        for part in self.parts:
            write_through(Path(self.devices["A"][part]), (self.directory / "factory" / f"{part}.img").read_bytes())
        return self

    def boot(self, *, found: str = FOUND, script: str = "", disk: int = 0) -> str:
        """Let GRUB boot the disk: it may write the block, and says which slot runs.

        Args:
            found: what GRUB has set before.
            script: another script than that of the page.
            disk: the number of the disk.
        """
        if script:
            self.put_script(script)
        partition = f"{self.disk}@@{self._offset(0)}"
        run("mcopy", "-o", "-i", partition, self.grubenv, "::grubenv")
        said = Grub(self.directory / "grub", self.directory / "grub.cfg", found=found, disk=disk).start(self.disk)
        run("mcopy", "-n", "-o", "-i", partition, "::grubenv", self.grubenv)
        booted = re.findall(rf"BOOTS hd{disk},gpt(\d)", said)
        assert len(booted) == 1, said
        line = " ".join(kernel_line(said)[1:])
        self.cmdline.write_text(f"{line}\n")
        # Kernel and arguments are of the same slot.
        [slot] = re.findall(r"kiosk\.slot=(\w)", line)
        assert self._labels[int(booted[0]) - 3].endswith(f"-{slot.lower()}")
        assert f"PARTLABEL=root-{slot.lower()}" in line
        return slot

    def lacking(self, *commands: str) -> str:
        """The script for a GRUB that lacks some commands: it calls them by a name that no GRUB knows."""
        text = self._script
        for command in commands:
            place = rf"^(\s*(?:if |elif )?){re.escape(command)}(?=[ ;\n])"
            text, count = re.subn(place, r"\1nosuch_command", text, flags=re.MULTILINE)
            assert count, command
        return text

    def update(self, name: str, *, without: str = "") -> Path:
        directory = self.directory / name
        directory.mkdir()
        self._file_system(directory, name)
        (directory / "VERSION.TXT").write_text(f"{name}\n")
        members = [f"{part}.img" for part in self.parts if part != without]
        return pack(directory, *members, "VERSION.TXT")

    def _file_system(self, directory: Path, name: str) -> None:
        for part in self.parts:
            image = directory / f"{part}.img"
            if part == self.header_last:
                content = directory / "content"
                files = content / ("boot" if part == "root" else ".")
                files.mkdir(parents=True)
                for file in ("vmlinuz", "initrd.img"):
                    (files / file).write_text(f"{file} of {name}")
                make_image(content / "more", MIB, seed=7)
                run("mke2fs", "-q", "-t", "ext4", "-d", content, image, f"{PARTITION_BYTES >> 10}k")
            else:
                make_image(image, 2 * MIB + 512, seed=len(name))

    @property
    def header_last(self) -> str:
        return self.parts[0]

    def _offset(self, number: int) -> int:
        return ALIGNMENT + number * PARTITION_BYTES

    def _make_disk(self) -> None:
        with self.disk.open("wb") as file:
            file.truncate(self._offset(len(self._labels) + 1) + ALIGNMENT)
        arguments = []
        for number, label in enumerate(["grub", *self._labels], 2):
            first = self._offset(number - 2) // 512
            arguments += [
                f"--new={number}:{first}:{first + PARTITION_BYTES // 512 - 1}",
                f"--change-name={number}:{label}",
            ]
        run("sgdisk", *arguments, self.disk)
        run("mkfs.vfat", "--offset", str(self._offset(0) // 512), self.disk, str(PARTITION_BYTES >> 10))
        self.put_script(self._script)

    def put_script(self, script: str) -> None:
        (self.directory / "grub.cfg").write_text(script)
        run("mcopy", "-o", "-i", f"{self.disk}@@{self._offset(0)}", self.directory / "grub.cfg", "::grub.cfg")


@pytest.fixture(params=["root only", "boot, root and verity"])
def kiosk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kiosk]:
    if request.param == "root only":
        made = Kiosk(tmp_path, CONFIGS[0], SCRIPT, ("root",), ())
    else:
        made = Kiosk(tmp_path, CONFIGS[1], with_top(SCRIPT, TOP), ("boot", "root", "verity"), ("scratch",))
    with made as running:
        yield running


def test_the_page_has_what_is_tested():
    assert len(CONFIGS) == 2


def test_the_script_that_init_writes_is_that_of_the_page():
    first = SlotScript(
        {Slot.A: 3, Slot.B: 4},
        {slot: f"root=PARTLABEL=root-{slot.lower()} ro quiet" for slot in Slot},
        "kiosk.slot",
        "/boot/vmlinuz",
        "/boot/initrd.img",
    )
    assert first.text() == SCRIPT
    verity = "systemd.verity_root_data=PARTLABEL=root-{0} systemd.verity_root_hash=PARTLABEL=verity-{0}"
    root = f"root=/dev/mapper/root {verity}"
    second = SlotScript(
        {Slot.A: 3, Slot.B: 7},
        {slot: root.format(slot.lower()) for slot in Slot},
        "kiosk.slot",
        "/vmlinuz",
        "/initrd.img",
    )
    assert second.text() == with_top(SCRIPT, TOP)


def test_a_whole_upgrade(kiosk: Kiosk):
    assert kiosk.boot() == "A"
    kiosk.ok("confirm")
    scratch = {part: kiosk.device_bytes("A", part) for part in kiosk.wiped}
    update = kiosk.update("v2")
    inspected = kiosk.ok("inspect", update)
    assert f"the passive slot has room for {PARTITION_BYTES}" in inspected
    assert inspected.endswith("fits     yes\n")
    kiosk.ok("upgrade-install", update)
    for part in kiosk.parts:
        image = (update.parent / f"{part}.img").read_bytes()
        assert kiosk.device_bytes("B", part)[: len(image)] == image
    for part in kiosk.wiped:
        assert not any(kiosk.device_bytes("B", part))
        assert kiosk.device_bytes("A", part) == scratch[part]
    status = kiosk.status()
    assert set(status["slots"]["B"]["devices"]) == {*kiosk.parts, *kiosk.wiped}
    record = status["slots"]["B"]["record"]
    assert {key for key, value in record.items() if isinstance(value, dict)} == set(kiosk.parts)
    assert record["root"]["size"] == (update.parent / "root.img").stat().st_size
    kiosk.ok("upgrade-commit")
    assert kiosk.boot() == "B"
    assert kiosk.status()["state"] == "trial"
    kiosk.ok("confirm")
    assert kiosk.boot() == "B"
    assert kiosk.ok("current_partition") == f"{kiosk.devices['B']['root']}\n"
    assert kiosk.ok("target_partition") == f"{kiosk.devices['A']['root']}\n"
    # The records lie on a partition that the slots share, so the way back is known.
    kiosk.ok("rollback")
    assert [kiosk.boot(), kiosk.boot()] == ["A", "B"]


def test_a_trial_that_nobody_confirms(kiosk: Kiosk):
    kiosk.boot()
    kiosk.ok("upgrade-install", kiosk.update("v2"))
    kiosk.ok("upgrade-commit")
    assert [kiosk.boot(), kiosk.boot(), kiosk.boot()] == ["B", "A", "A"]
    assert [problem["code"] for problem in kiosk.status()["problems"]] == ["FELL_BACK"]


def test_an_installation_that_did_not_finish_is_not_loaded(kiosk: Kiosk):
    kiosk.boot()
    kiosk.ok("upgrade-install", kiosk.update("v2"))
    # The digest is known when everything is written but the header.
    kiosk.fails("upgrade-install", kiosk.update("v3"), "--sha256", "0" * 64, status=65, code="IMAGE_SHA256")
    kiosk.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")
    assert not any(kiosk.device_bytes("B", kiosk.header_last)[: 128 << 10])
    # Somebody arms it all the same.
    kiosk.set_block(boot_alternative="B", boot_cycle="first_boot")
    assert kiosk.boot() == "A"
    assert kiosk.status()["state"] == "idle"


def test_each_role_has_to_be_in_the_image(kiosk: Kiosk):
    kiosk.boot()
    last = kiosk.parts[-1]
    line = kiosk.fails("upgrade-install", kiosk.update("v2", without=last), status=65, code="IMAGE_MEMBER")
    assert f"it has no {last}.img" in line
    files = [kiosk.directory / "v2" / f"{part}.img" for part in (kiosk.parts[0], "root")]
    line = kiosk.fails("upgrade-install", *files, status=2, code="USAGE")
    assert f"it is one archive with {', '.join(f'{part}.img' for part in kiosk.parts)}, and 2 paths are given" in line


@pytest.mark.parametrize("lacking", ["", "regexp"])
@pytest.mark.parametrize(
    "found",
    [
        FOUND,
        "set prefix=/\nset root=hd0,gpt2",
        "unset prefix\nset root=hd0,gpt2",
        f"{FOUND}\nset disk=hd9\nset own=hd9\nset block=x\nset boot_cycle=first_boot\nset other=B",
    ],
)
def test_its_grub_cfg_takes_little_for_granted(kiosk: Kiosk, found: str, lacking: str):
    script = kiosk.lacking(lacking) if lacking else ""
    assert kiosk.boot(found=found, script=script) == "A"
    kiosk.ok("upgrade-install", kiosk.update("v2"))
    kiosk.ok("upgrade-commit")
    assert [kiosk.boot(found=found), kiosk.boot(found=found)] == ["B", "A"]


def test_its_grub_cfg_finds_the_disk_that_it_is_on(kiosk: Kiosk):
    found = "set prefix=(hd1,gpt2)\nset root=hd1,gpt2"
    assert kiosk.boot(found=found, disk=1) == "A"
    assert kiosk.boot(found=found, disk=1, script=kiosk.lacking("regexp")) == "A"


@pytest.mark.parametrize("lacking", [("[",), ("load_env", "save_env"), ("save_env",)])
def test_its_grub_cfg_starts_no_trial_that_it_cannot_write_down(kiosk: Kiosk, lacking: tuple[str, ...]):
    kiosk.boot()
    kiosk.ok("upgrade-install", kiosk.update("v2"))
    kiosk.ok("upgrade-commit")
    before = kiosk.grubenv.read_bytes()
    assert kiosk.boot(script=kiosk.lacking(*lacking)) == "A"
    assert kiosk.grubenv.read_bytes() == before


def test_its_grub_cfg_writes_nothing_where_nothing_can_be_loaded(kiosk: Kiosk):
    kiosk.set_block(boot_alternative="B", boot_cycle="first_boot")
    before = kiosk.grubenv.read_bytes()
    write_through(Path(kiosk.devices["A"][kiosk.header_last]), bytes(PARTITION_BYTES))
    with pytest.raises(AssertionError, match="MENU"):
        kiosk.boot()
    assert kiosk.grubenv.read_bytes() == before
