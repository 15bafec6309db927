"""The devices of the slots, as the daemon watches them: what can't be looked at is not lost."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from manageboot.daemon.devicewatch import LOST_AFTER_S, DeviceWatch
from manageboot.protocol import Slot
from support.images import MIB
from support.loop import loop_device

STORM = """
import select, socket
from manageboot.daemon.devicewatch import DeviceWatch

UEVENTS, BY_UDEV, SOL_NETLINK, ADD_MEMBERSHIP = 15, 2, 270, 1
watch = DeviceWatch({}, {})
heard = socket.socket(fileno=watch.descriptor)
# Without rights it has a small buffer; and where udev does not run, it is in no group.
heard.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
heard.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, BY_UDEV)
events = select.poll()
events.register(heard, select.POLLIN)
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, UEVENTS) as udev:
    for _ in range(100):
        udev.sendto(bytes(1000), (0, BY_UDEV))
[(_, found)] = events.poll(0)
assert found & select.POLLERR
watch.drain()
assert events.poll(0) == []
udev = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, UEVENTS)
udev.sendto(bytes(1000), (0, BY_UDEV))
assert events.poll(0) != []
heard.detach()
"""
"""More events at once than there is room for, in a network of its own, where nobody else hears them."""


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


@pytest.mark.devices
def test_a_storm_of_events_is_over_once_it_was_heard():
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", STORM], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
