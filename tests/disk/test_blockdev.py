"""What is opened as a device of a slot, and is none."""

import os
from pathlib import Path

import pytest

from manageboot import errors
from manageboot.disk.blockdev import BlockDevice


@pytest.mark.parametrize("kind", ["fifo", "file", "directory", "device"])
@pytest.mark.parametrize("shared", [True, False])
def test_what_is_no_block_device_is_refused_and_keeps_nobody_waiting(tmp_path: Path, kind: str, shared: bool):
    path = Path("/dev/zero") if kind == "device" else tmp_path / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "file":
        path.write_bytes(bytes(4096))
    elif kind == "directory":
        path.mkdir()
    with pytest.raises(errors.DeviceMissingError, match=f"cannot open {path}: it is not a block device"):
        BlockDevice(str(path), shared=shared)
