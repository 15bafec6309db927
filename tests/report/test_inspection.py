"""What `inspect` says of an update image where it can't be compared with this node's slots."""

from pathlib import Path

import pytest

from manageboot import config
from manageboot.report import inspection
from support.images import MIB, make_update
from support.loop import loop_device


@pytest.mark.devices
def test_where_the_size_of_a_device_is_unknown_so_is_whether_it_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "cmdline").write_text("dfinity.system=A\n")
    (tmp_path / "device").write_bytes(bytes(MIB))
    update = make_update(tmp_path / "update")
    with loop_device(tmp_path / "device") as device:
        roots = {"A": "/dev/none", "B": device}
        slots = "".join(f'[slots.{slot}]\nboot = "/dev/none{slot}"\nroot = "{roots[slot]}"\n' for slot in "AB")
        (tmp_path / "config").write_text(f'[boot]\ncmdline = "{tmp_path}/cmdline"\n{slots}')
        settings = config.load(str(tmp_path / "config"))
        assert inspection.inspect(settings, [str(update)])["fits"] is False
        monkeypatch.setattr("manageboot.disk.sysfs.NAMES", str(tmp_path / "there-is-no-sys"))
        assert inspection.inspect(settings, [str(update)])["fits"] is None
