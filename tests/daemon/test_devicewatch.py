"""The devices of the slots, as the daemon watches them: what can't be looked at is not lost."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from manageboot.daemon.devicewatch import LOST_AFTER_S, DeviceWatch
from manageboot.protocol import Slot
from support.images import MIB
from support.loop import loop_device


@contextmanager
def no_descriptor_to_spare() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.devices
def test_what_can_not_be_looked_at_is_as_it_was(tmp_path: Path):
    (tmp_path / "device").write_bytes(bytes(MIB))
    with loop_device(tmp_path / "device") as device:
        specs = {"boot": device, "root": "PARTLABEL=none"}
        watch = DeviceWatch({Slot.A: specs}, {})
        with no_descriptor_to_spare():
            assert watch.look(0.0) == watch.look(LOST_AFTER_S) == {}
        watch.look(100.0)
        lost = watch.look(100.0 + LOST_AFTER_S)
        assert lost.keys() == {"slots.A.root"}
        for either in (watch, DeviceWatch({Slot.A: specs}, lost)):
            with no_descriptor_to_spare():
                assert either.look(200.0) == lost
            assert either.look(200.0).keys() == {"slots.A.root"}
