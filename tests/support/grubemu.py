"""Real GRUB as a function: what is on the disk before, in; which slot it starts and what it wrote, out.

grub-emu runs a grub.cfg with GRUB's own interpreter, load_env and save_env on a disk image, some 25 ms a run. Each
question is asked once; the answers are kept by question, in a file too if one is given.

It runs a copy of the script, in which `linux` and `initrd` have names of the driver's own: grub-emu 2.06 has no such
commands, and those of 2.12 look for files of the host, for kexec. GRUB prefers a command to a function of that name.
"""

import os
import pickle
import re
import select
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from manageboot import bootloader
from support.loop import run
from support.once import put_copy

SHIPPED = Path(bootloader.__file__).with_name("grub.cfg")
STOCK = Path(__file__).with_name("stock.cfg")
"""The same state machine without manageboot's own variables, as nodes in service have it."""

SECTOR = 512
MIB = 1 << 20
_FIRST = {"grub": 2048, "A": 6144, "B": 10240}
_SECTORS = 4096
_LIMIT_S = 60

# What grub-emu lacks: loading and starting a kernel. A file that is missing fails, as in GRUB. The copy of the script
# lies on the host; all that it reads and writes is on the disk.
_DRIVER = """
set enable_progress_indicator=0
function judged_linux {
    if [ -e "$1" ]; then
        echo KERNEL
        # One a line: GRUB's console breaks longer ones, between words and within.
        for word in $*; do echo "WORD $word"; done
    else
        return 1
    fi
}
function judged_initrd {
    if [ -e "$1" ]; then echo "BOOTS $root"; exit; else return 1; fi
}
set judged=$prefix/judged.cfg
%s
source $judged
echo "MENU $default $timeout $timeout_style <$fallback>"
exit
"""

FOUND = "set prefix=(hd0,gpt2)\nset root=hd0,gpt2"
"""What GRUB has set when it starts the script, where everything is as it should be."""


class Question(NamedTuple):
    """What GRUB finds."""

    block: bytes | None
    """The environment block; None: there is no such file."""
    witness: bytes | None
    """The second block."""
    loadable: str
    """The slots whose kernel is there: "", "A", "B" or "AB"."""
    writable: bool = True


class Answer(NamedTuple):
    """What GRUB did."""

    slot: str | None
    arguments: str
    """The kernel command line."""
    block: bytes | None


class Grub:
    """One grub.cfg, to be asked."""

    def __init__(
        self, directory: Path, script: Path | str, *, memory: Path | None = None, found: str = FOUND, disk: int = 0,
        beside: Path | None = None,
    ) -> None:  # fmt: skip
        """Take the script, or its text.

        Args:
            directory: for its own files.
            script: the script.
            memory: a file that keeps the answers.
            found: what was set before the script.
            disk: the number of the disk that it is on.
            beside: the image of all other disks; there is one more then than are needed for that number.
        """
        self._disk = disk
        self._beside = beside
        self.runs = 0
        self._memory = memory
        self._known: dict[Question, Answer] = {}
        if memory is not None and memory.exists():
            self._known = pickle.loads(memory.read_bytes())
        self._directory = directory
        self._script = script if isinstance(script, str) else script.read_text()
        self._images: dict[tuple[bool, int], Path] = {}
        self._offsets: dict[Path, dict[bytes, int]] = {}
        driver = directory / "driver"
        driver.mkdir(parents=True, exist_ok=True)
        (driver / "grub.cfg").write_text(_DRIVER % found)

    def ask(self, question: Question) -> Answer:
        """Boot, or remember what came of it."""
        if question not in self._known:
            self._known[question] = self._run(question)
        return self._known[question]

    def start(self, image: Path) -> str:
        """Let GRUB boot a disk image by the grub.cfg that lies on it; return all that it said."""
        place = "(loop0,gpt2)/grub.cfg"
        found = subprocess.run(["grub-fstest", image, "cat", place], check=True, capture_output=True, timeout=_LIMIT_S)
        return self._start(image, found.stdout.decode())

    def _start(self, image: Path, script: str) -> str:
        (self._directory / "driver" / "judged.cfg").write_text(judged(script))
        device_map = self._directory / "device.map"
        empty = self._directory / "empty.img"
        empty.write_bytes(bytes(MIB))
        numbers = range(self._disk + (2 if self._beside else 1))
        device_map.write_text(
            "".join(f"(hd{n}) {image if n == self._disk else self._beside or empty}\n" for n in numbers)
        )
        # Into a file: grub-emu writes single bytes, and through a pipe that takes five times as long.
        with (self._directory / "said").open("wb") as said:
            command = ["grub-emu", "-d", self._directory / "driver", "-m", device_map]
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said) as running:
                _wait(running)
        text = (self._directory / "said").read_text(errors="replace")
        assert running.returncode == 0, text
        return text

    def remember(self) -> None:
        """Keep the answers for another process."""
        if self._memory is not None and self.runs:
            new = self._memory.with_suffix(f".{os.getpid()}")
            new.write_bytes(pickle.dumps(self._known))
            new.rename(self._memory)

    def disk(self, question: Question) -> Path:
        """Make the disk that a question is about; it changes with the next one."""
        block = question.block
        if not question.writable and block:
            # A byte behind the padding: GRUB reads such a block and refuses to change it.
            block += b"\0"
        size = -1 if block is None else len(block)
        image = self._image(size, question.witness is not None)
        with image.open("r+b") as disk:
            self._put(disk.fileno(), image, b"B" * 16, block)
            self._put(disk.fileno(), image, b"W" * 16, question.witness)
            for slot in "AB":
                # Without its super block GRUB finds no file system: so an installation that did not finish looks.
                magic = b"\x53\xef" if slot in question.loadable else b"\0\0"
                os.pwrite(disk.fileno(), magic, _FIRST[slot] * SECTOR + 1024 + 56)
        return image

    def _run(self, question: Question) -> Answer:
        self.runs += 1
        image = self.disk(question)
        output = self._start(image, self._script)
        booted = started(output, disk=self._disk)
        after = question.block
        if after:
            with image.open("rb") as disk:
                after = os.pread(disk.fileno(), len(after), self._offsets[image][b"B" * 16])
            assert question.writable or after == question.block
        if booted is None:
            return Answer(None, "", after)
        return Answer({4: "A", 7: "B"}[booted], " ".join(kernel_line(output)[1:]), after)

    def _put(self, disk: int, image: Path, marker: bytes, data: bytes | None) -> None:
        if data:
            os.pwrite(disk, data, self._offsets[image][marker])

    def _image(self, size: int, witness: bool) -> Path:
        """Make a disk whose block has this size (-1: there is none), with or without the second block."""
        key = (witness, size)
        if key in self._images:
            return self._images[key]
        image = self._directory / f"disk{size}{'w' if witness else ''}.img"
        shutil.copyfile(self._base(), image)
        files = {"grub.cfg": self._script.encode()}
        if size >= 0:
            files["grubenv"] = (b"B" * 16).ljust(size, b"x") if size >= 16 else b""
        if witness:
            files["manageboot.env"] = (b"W" * 16).ljust(1024, b"x")
        grub = self._part("vfat", self._directory / "grub.img", files)
        self._into(image, grub, "grub")
        data = image.read_bytes()
        self._offsets[image] = {marker: data.find(marker) for marker in (b"B" * 16, b"W" * 16)}
        self._images[key] = image
        return image

    def _base(self) -> Path:
        """Return the disk without its GRUB partition, which is the same for all scripts."""
        image = self._directory / "base.img"
        if not image.exists():
            put_copy(self._directory, "disk without its GRUB partition", lambda new: self._make_base(new / image.name))
        return image

    def _make_base(self, image: Path) -> None:
        with image.open("wb") as file:
            file.truncate((_FIRST["B"] + _SECTORS + 2048) * SECTOR)
        numbers = {2: "grub", 4: "A", 7: "B"}
        # What it writes it flushes, with everything else.
        run("sgdisk", *(f"--new={n}:{_FIRST[name]}:+{_SECTORS - 1}" for n, name in numbers.items()), image)
        boot = self._part("ext4", self._directory / "boot.img", {"vmlinuz": b"k", "initrd.img": b"i"})
        for slot in "AB":
            self._into(image, boot, slot)

    def _part(self, kind: str, image: Path, files: dict[str, bytes]) -> Path:
        content = self._directory / f"content-{image.stem}"
        content.mkdir(exist_ok=True)
        for old in content.iterdir():
            old.unlink()
        for name, data in files.items():
            (content / name).write_bytes(data)
        with image.open("wb") as file:
            file.truncate(_SECTORS * SECTOR)
        if kind == "vfat":
            run("mkfs.vfat", image)
            run("mcopy", "-i", image, *sorted(content.iterdir()), "::")
        else:
            run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", content, image)
        return image

    def _into(self, image: Path, part: Path, name: str) -> None:
        with image.open("r+b") as file:
            file.seek(_FIRST[name] * SECTOR)
            file.write(part.read_bytes())


def judged(script: str) -> str:
    """Return a script with other names for the commands that load a kernel, where it calls them."""
    return re.sub(r"^(\s*(?:if |elif )?)(linux|initrd)(?=[ ;\n])", r"\1judged_\2", script, flags=re.MULTILINE)


def _wait(running: subprocess.Popen[bytes]) -> None:
    """Wait for its end. Python's own waiting with a limit sleeps in between, for as long again as a run takes."""
    descriptor = os.pidfd_open(running.pid)
    try:
        if not select.select([descriptor], [], [], _LIMIT_S)[0]:
            running.kill()
            raise AssertionError(f"grub-emu did not end within {_LIMIT_S} s")
    finally:
        os.close(descriptor)


def kernel_line(output: str) -> list[str]:
    """Pick the kernel and its arguments out of what GRUB said: the last one that it loaded."""
    return re.findall(r"^\s*WORD (.*?)\s*$", output.rpartition("KERNEL")[2], re.MULTILINE)


def started(output: str, *, disk: int = 0) -> int | None:
    """Pick the number of the partition whose kernel was started out of what GRUB said; None: none was."""
    booted = re.findall(rf"BOOTS hd{disk},gpt(\d)", output)
    assert len(booted) <= 1 and len(booted) == output.count("BOOTS "), output
    return int(booted[0]) if booted else None
