"""One node's life, recorded and judged: the cycle in QEMU, and every power cut in its second half."""

from pathlib import Path

import pytest

from powercuts.campaign import Walk
from powercuts.recording import END, LOG, Life, Step, describe, load
from qemu_harness.cache import Cache
from qemu_harness.cycle import V1, V2, V3
from qemu_harness.debian import chosen_release
from qemu_harness.firmware import Firmware
from qemu_harness.node import build_node
from qemu_harness.requirements import unmet
from qemu_harness.slot import build_slot_images, build_system
from support.cycle import DAEMON_STEPS, check_two_upgrades

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(1800)]

JUDGED = ("install v3", "commit v3", "reset", "switched off")
STRIDE = 16
"""Of the hundreds of writes of an installation, which are alike, each sixteenth is judged."""


def nothing(_: object) -> None:
    """The cycle has done it already."""


# What may boot while a step of the cycle happens, and after it; and where it runs, and what completes it.
PROMISES = {
    "first boot": Step("first boot", "", nothing, "A", "A"),
    "install v2": Step("install v2", "", nothing, "A", "A", "A", "upgrade-install", installs="B"),
    "commit v2": Step("commit v2", "the daemon confirms", nothing, "AB", "B", meddles="B"),
    "install v3": Step("install v3", "", nothing, "B", "B", "B", "upgrade-install", installs="A"),
    "commit v3": Step("commit v3", "and the trial begins", nothing, "AB", "AB"),
    "reset": Step("reset", "GRUB goes back", nothing, "AB", "B"),
}


def test_two_upgrades_of_which_the_daemon_confirms_one_and_every_power_cut_of_the_other(tmp_path: Path) -> None:
    if missing := unmet():
        pytest.skip("; ".join(missing))
    cache, release = Cache.default(), chosen_release()
    images = build_node(cache, release=release)
    ends = check_two_upgrades(cache, images, Firmware.UEFI, tmp_path, DAEMON_STEPS, write_log=tmp_path / LOG)
    (tmp_path / "disk.img").rename(tmp_path / END)
    system = build_system(cache, release=release)
    versions = {}
    for version in (V1, V2, V3):
        slot = build_slot_images(cache, system, version)
        versions[version] = {"boot": slot.boot, "root": slot.root}
    steps = [PROMISES[step.name] for step in DAEMON_STEPS]
    life = Life("cycle", "the cycle", "guestos", images.disk, images.media, versions, steps, release.value)
    describe(life, tmp_path, ends)
    with Walk(load(tmp_path), seed=1, samples=1, stride=STRIDE) as walk:
        result = walk.run(JUDGED)
    assert result.violations == []
    # Of an installation, a commit, a boot by GRUB, a trial and a fallback.
    assert result.states > 200
    assert {instant.slot for instant in result.instants} == {"A", "B"}
