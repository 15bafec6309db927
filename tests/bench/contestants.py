"""Who takes part: each gets the payload ready in a way of its own, beforehand, and is one command then."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial

from bench.contestant import Command, Contestant, Stage
from bench.node import make_node
from bench.payload import VERSION, Payload, run
from bench.release import RELEASES
from bench.updaters import rauc, swupdate
from manageboot.publish import build
from manageboot.publish.build import Plan
from manageboot.release import description

SHELL = """\
set -e
work=$(mktemp -d "$TMPDIR/install.XXXXXX")
tar --extract --file {archive} --use-compress-program 'zstd --long=27' --directory "$work"
dd if="$work/boot.img" of={boot} bs=1M status=none
dd if="$work/root.img" of={root} bs=1M status=none
dd if=/dev/zero of={var} bs=1M count=16 status=none
sync
rm -r "$work"
"""

SETTINGS = """\
[install]
verify = {verify}
[slots.A]
boot = "/dev/none-boot"
root = "/dev/none-root"
[slots.B]
boot = "{boot}"
root = "{root}"
var = "{var}"
"""

WRITE_FLOOR = "dd if=/dev/zero of={root} bs=1M count={mib} oflag=direct conv=fsync status=none"
HASH_FLOOR = """\
import hashlib
window = bytes(1 << 20)
digest = hashlib.sha256()
for _ in range({mib}):
    digest.update(window)
"""


def _shell(stage: Stage) -> Command:
    boot, root, var = stage.targets.devices
    return ["sh", "-c", SHELL.format(archive=stage.payload.archive, boot=boot, root=root, var=var)]


def _archive(stage: Stage) -> Command:
    return [stage.payload.archive]


def _release(stage: Stage) -> Command:
    """Make a release of the same images, compressed as the archive is."""
    boot, root = map(str, stage.payload.images)
    plan = Plan(str(stage.work), 1, version=VERSION, any_content=True, level=8, style="none")
    build.build([boot, root], plan)
    directory = stage.work / VERSION
    return [directory, "--release-sha256", hashlib.sha256((directory / description.NAME).read_bytes()).hexdigest()]


def _manageboot(verify: str, what: Callable[[Stage], Command] = _archive) -> Callable[[Stage], Command]:
    def prepare(stage: Stage) -> Command:
        work, (boot, root, var) = stage.work, stage.targets.devices
        rest = SETTINGS.format(verify=verify, boot=boot, root=root, var=var)
        return [*make_node(work, work / "run", rest), "upgrade-install", *what(stage)]

    return prepare


def _bmaptool(zero_first: bool) -> Callable[[Stage], Command]:
    def prepare(stage: Stage) -> Command:
        lines = ["set -e"]
        for image, device in zip(stage.payload.images, stage.targets.devices, strict=False):
            run("bmaptool", "create", "--output", stage.work / f"{image.name}.bmap", image)
            run("zstd", "--quiet", "-8", image, "-o", stage.work / f"{image.name}.zst")
            if zero_first:
                lines.append(f"blkdiscard --zeroout {device}")
            lines.append(f"bmaptool --quiet copy --bmap {image.name}.bmap {image.name}.zst {device}")
        return ["sh", "-c", "\n".join(lines)]

    return prepare


def _bmaptool_version() -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "bmap-tools"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return run("dpkg-query", "--show", "--showformat=${Version}", "bmap-tools")


def _data_mib(payload: Payload) -> int:
    return sum(image.stat().st_blocks * 512 for image in payload.images) >> 20


def _decompress(stage: Stage) -> Command:
    return ["sh", "-c", f"zstd -dcq --long=27 {stage.payload.archive} > /dev/null"]


def _write_directly(stage: Stage) -> Command:
    return ["sh", "-c", WRITE_FLOOR.format(root=stage.targets.root, mib=_data_mib(stage.payload))]


def _hash(stage: Stage) -> Command:
    return [sys.executable, "-c", HASH_FLOOR.format(mib=_data_mib(stage.payload))]


FLOOR = "zstd -dc"
OURS = "manageboot"
CONTESTANTS = [
    Contestant(FLOOR, _decompress, is_floor=True),
    Contestant("direct write of the data", _write_directly, is_floor=True),
    Contestant("SHA-256 of the data", _hash, is_floor=True),
    Contestant(OURS, _manageboot("true")),
    Contestant("manageboot, a release", _manageboot("true", _release)),
    Contestant("manageboot, verify = false", _manageboot("false")),
    Contestant("shell: tar, dd, sync", _shell),
    *(Contestant(f"RAUC of {one.title}", rauc(one), version=partial(one.version, "rauc")) for one in RELEASES),
    *(
        Contestant(f"SWUpdate of {one.title}", swupdate(one), version=partial(one.version, "swupdate"))
        for one in RELEASES
    ),
    Contestant("bmaptool, zeroed first", _bmaptool(zero_first=True), version=_bmaptool_version),
    Contestant("bmaptool", _bmaptool(zero_first=False), check_holes=False, version=_bmaptool_version),
]
