"""Without /sys, as in a rescue chroot: a device that can't be looked for is not one that is not there."""

import os
import sys
from pathlib import Path

import pytest

from manageboot import errors
from manageboot.disk import devices
from support.images import make_update
from support.loop import loop_device
from support.node import LoopNode
from support.without import run_without

pytestmark = pytest.mark.devices

SPECS = ["PARTUUID=7c0a626e-e5ea-e543-b5c5-300eb8304db7", "PARTLABEL=A_root", "LV=hostlvm/A_root"]


def name_devices(node: LoopNode, spec: str) -> None:
    """Let the configuration name one device, which is not there either, in another way."""
    node.devices["A"]["root"] = spec
    node.devices["B"]["root"] = spec.replace("A_root", "B_root").replace("7c0a", "a78b")
    node.write_config()


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("verb", ["current-root", "doctor", "upgrade-install"])
def test_a_verb_that_needs_the_devices_says_that_sys_is_missing(node: LoopNode, spec: str, verb: str):
    name_devices(node, spec)
    words = [verb, str(make_update(node.directory / "update"))] if verb == "upgrade-install" else [verb]
    done = run_without(["/sys"], *node.command(*words))
    assert (done.returncode, done.stdout) == (66, "")
    first, hint = done.stderr.splitlines()
    assert first.endswith(": /sys is not mounted [DEVICES_UNKNOWN]")
    assert first.startswith("manageboot: error: cannot find ")
    assert hint == "hint: mount -t sysfs sysfs /sys"


def test_a_device_that_is_named_by_its_path_is_one_without_sys(node: LoopNode):
    update = make_update(node.directory / "update")
    # It is found, but who else uses it can't be told.
    done = run_without(["/sys"], *node.command("upgrade-install", update))
    assert done.returncode == 69
    assert "who uses it can't be told: /sys/class/block: No such file or directory [DEVICE_BUSY]" in done.stderr
    assert "hint: it counts as used; mount /proc and /sys\n" in done.stderr
    assert node.record("B") is None
    done = run_without(["/sys"], *node.command("doctor"))
    assert "NO_DEVICE" not in done.stdout
    assert (
        "not looked at: whether / is the booted slot's root: cannot tell what a device lies on: /sys is" in done.stdout
    )


def test_a_node_of_a_device_that_is_gone_is_none(tmp_path: Path):
    node = tmp_path / "node"
    os.mknod(node, 0o600 | 0o060000, os.makedev(254, 4095))
    assert devices.device_number(str(node)) is None
    (tmp_path / "file").touch()
    assert devices.device_number(str(tmp_path / "file")) is None
    assert devices.device_number(str(tmp_path / "file" / "below")) is None
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(errors.DeviceError, match=r"cannot look at .*loop"):
        devices.device_number(str(tmp_path / "loop"))


def test_the_daemon_loses_no_device_without_sys(tmp_path: Path):
    code = (
        "import sys; from manageboot.daemon.devicewatch import DeviceWatch; from manageboot.protocol import Slot;"
        "watch = DeviceWatch({Slot.A: {'boot': sys.argv[1], 'root': sys.argv[2]}}, {});"
        "print([watch.look(0.0), watch.look(100.0)])"
    )
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    with loop_device(tmp_path / "disk") as path:
        done = run_without(["/sys"], sys.executable, "-c", code, path, SPECS[0])
    assert done.stdout == "[{}, {}]\n", done.stderr


def test_without_proc_nobody_knows_who_has_an_image_open(tmp_path: Path):
    take = "with diskusers.unused(sys.argv[1], write=True): print('taken')"
    code = f"import sys; from manageboot.disk import diskusers\n{take}"
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    assert run_without([], sys.executable, "-c", code, tmp_path / "disk").stdout == "taken\n"
    done = run_without(["/proc"], sys.executable, "-c", code, tmp_path / "disk")
    assert done.returncode == 1
    assert "who uses it can't be told: /proc/self: No such file or directory" in done.stderr
