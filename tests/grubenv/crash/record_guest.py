"""Recording in a virtual machine, for vfat, which needs a kernel that has it; QEMU logs what reaches the disk.

`python -m tests.grubenv.crash.record_guest` makes the files in tests/grubenv/recordings anew.
"""

import os
import shutil
import subprocess
import tempfile
import traceback
from pathlib import Path

from tests.grubenv.crash.operations import OPERATIONS, perform
from tests.support.crashlog import divide, save, unpack_dm

MIB = 1 << 20
RECORDINGS = Path(__file__).parents[1] / "recordings"
VFAT = {
    "vfat, FAT16, 100 MiB": (100, ("-F", "16")),
    "vfat, FAT32": (64, ("-F", "32", "-s", "1")),
    "vfat, 4 KiB clusters": (64, ("-F", "16", "-s", "8")),
}
DISK_SIZE = 101 * MIB
METADATA_SIZE = 2 * MIB
"""All of a new vfat that is not zero lies in here, the root directory included."""
_ROOT = Path(__file__).parents[3]
_DEADLINE_S = 900
# The initrd has mounted /proc, /sys and /dev before it starts this.
_INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin PYTHONPATH=/project
modprobe -a virtio_blk vfat nls_cp437 nls_ascii nls_iso8859-1 nls_utf8
cd /project && python3 -c 'import tests.grubenv.crash.record_guest as guest; guest.inside()'
sync
echo o > /proc/sysrq-trigger
sleep 100
"""


def fixture(kind: str) -> Path:
    return RECORDINGS / (kind.replace(",", "").replace(" ", "-").lower() + ".xz")


def inside() -> None:
    """Carry out all operations; this runs in the guest."""
    point = "/mnt"
    try:
        for kind in VFAT:
            image = Path("/images", fixture(kind).stem).read_bytes()
            for operation in OPERATIONS:
                perform(operation, "/dev/vdb", image, "vfat", point, f"{fixture(kind).stem}/")
        print("RECORDED", flush=True)
    except BaseException:
        traceback.print_exc()
        raise


def record_vfat(base: Path, scratch: Path) -> None:
    """Record in a guest made of a directory with `root`, `vmlinuz` and `initrd.img`, as the node harness builds it."""
    root = scratch / "root"
    subprocess.run(["cp", "-a", base / "root", root], check=True)  # with its device nodes
    for name in ("grubenv", "tests/grubenv/crash"):
        shutil.copytree(_ROOT / name, root / "project" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_ROOT / "tests/grubenv/blocks.py", root / "project/tests/grubenv")
    (root / "project/tests/support").mkdir()
    shutil.copy(_ROOT / "tests/support/crashlog.py", root / "project/tests/support")
    (root / "images").mkdir()
    for kind, (size_mib, options) in VFAT.items():
        image = scratch / "image"
        image.unlink(missing_ok=True)
        with image.open("wb") as file:
            file.truncate(size_mib * MIB)
        subprocess.run(["mkfs.vfat", *options, image], check=True, capture_output=True)
        with image.open("rb") as file:
            (root / "images" / fixture(kind).stem).write_bytes(file.read(METADATA_SIZE))
    (root / "record").write_text(_INIT)
    (root / "record").chmod(0o755)
    log = scratch / "log"
    for path, size in ((scratch / "root.img", 1024 * MIB), (scratch / "disk.img", DISK_SIZE), (log, 0)):
        with path.open("wb") as file:
            file.truncate(size)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, scratch / "root.img"], check=True)
    _boot(base, scratch, log)
    recordings = divide(unpack_dm(log.read_bytes()), DISK_SIZE)
    RECORDINGS.mkdir(exist_ok=True)
    for kind in VFAT:
        save(
            fixture(kind),
            {
                name.partition("/")[2]: found
                for name, found in recordings.items()
                if name.partition("/")[0] == fixture(kind).stem
            },
        )


def _boot(base: Path, scratch: Path, log: Path) -> None:
    console = scratch / "console"
    words = [
        "qemu-system-x86_64",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-machine",
        "q35",
        "-cpu",
        "max",
        "-smp",
        "2",
        "-m",
        "1024",
        "-accel",
        "tcg,thread=multi",
        "-no-reboot",
        "-kernel",
        str(base / "vmlinuz"),
        "-initrd",
        str(base / "initrd.img"),
        "-append",
        "root=/dev/vda rw console=ttyS0 init=/record panic=-1",
        "-serial",
        f"file:{console}",
        "-blockdev",
        f"driver=file,node-name=root,filename={scratch / 'root.img'}",
        "-device",
        "virtio-blk-pci,drive=root",
        "-blockdev",
        f"driver=file,node-name=disk,filename={scratch / 'disk.img'}",
        "-blockdev",
        f"driver=file,node-name=log,filename={log}",
        "-blockdev",
        "driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size=512",
        "-device",
        "virtio-blk-pci,drive=logged",
    ]
    with subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *words]) as guest:
        try:
            guest.wait(_DEADLINE_S)
        finally:
            guest.kill()
    said = console.read_text(errors="replace")
    assert "RECORDED" in said, said[-4000:]


def main() -> None:
    from qemu_harness.base import build_base
    from qemu_harness.cache import Cache

    base = Path(os.environ["NODE_BASE"]) if "NODE_BASE" in os.environ else build_base(Cache.default())
    with tempfile.TemporaryDirectory() as scratch:
        record_vfat(base, Path(scratch))
    for kind in VFAT:
        print(fixture(kind), fixture(kind).stat().st_size)


if __name__ == "__main__":
    main()
