"""What a release from a server costs beside the same from a directory: memory, and time on a line without a limit."""

import hashlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from support import servers
from support.authority import Authority
from support.images import MIB
from support.loop import loop_device
from support.node import LoopNode
from support.releases import small_release

pytestmark = [pytest.mark.devices, pytest.mark.long, pytest.mark.timeout(3600)]

ROUNDS = 7
DEBIANS = "/usr/bin/python3"
# The child has the interpreter of its parent. On a node it has Debian's pycurl; PyPI's brings libraries of its own,
# which nothing else on a machine uses.
WITH_CHILD_OF = """\
import sys
sys.executable = sys.argv.pop(1)
from manageboot.__main__ import main
sys.exit(main())
"""
SIZES = {"boot": 16 * MIB, "root": 256 * MIB, "var": 17 * MIB}
MORE_MIB = 16
"""What a network may add, in memory."""


class LargeNode(LoopNode):
    """A node whose slots have room for more than buffers hold, and whose /run is in memory as on any node."""

    def __init__(self, directory: Path, runtime: Path) -> None:
        super().__init__(directory)
        self.lock = runtime / "lock"

    def attach(self, stack: ExitStack) -> None:
        for slot, devices in self.devices.items():
            for part, size in SIZES.items():
                file = self.directory / f"{slot}_{part}"
                with file.open("xb") as made:
                    made.truncate(size)
                devices[part] = stack.enter_context(loop_device(file))


class Peak(NamedTuple):
    """The most memory that an installation and its children had at any moment, in MiB."""

    resident: float
    """Of each process all that it has, so what they share counts twice."""
    proportional: float
    """What they share with each other, and with others, counts in part."""
    processes: int
    """How many there were."""


class Costs:
    """One release, in a directory that servers serve as well, and a node to install it on."""

    def __init__(self, node: LoopNode, www: Path) -> None:
        dice = random.Random(4)
        # As in a system, some of it can be compressed.
        piece = [dice.randbytes(MIB // 2) + dice.randbytes(MIB // 8) * 4 for _ in range(200)]
        self._images = {"boot": b"".join(piece[:10]), "root": b"".join(piece[10:])}
        release = small_release(self._images, version="1.1")
        release.write(www / "1.1")
        self.size = len(release.pack)
        self._pin = hashlib.sha256(release.description).hexdigest()
        self._node = node
        self._said = node.directory / "said"

    def begin(self, place: str, interpreter: str = sys.executable) -> "subprocess.Popen[bytes]":
        """Begin to install it from a place into a slot that has nothing of it."""
        shutil.rmtree(self._node.state, ignore_errors=True)
        command = [sys.executable, "-c", WITH_CHILD_OF, interpreter, "-c", str(self._node.config)]
        command += ["upgrade-install", f"{place}1.1", "--release-sha256", self._pin]
        with self._said.open("wb") as said:
            return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait for its end, see that the slot holds the release, and let nothing of it be there for the next one."""
        assert process.wait() == 0, self._said.read_text()
        for role, image in self._images.items():
            assert self._node.device_bytes("B", role).startswith(image)
            descriptor = os.open(self._node.devices["B"][role], os.O_WRONLY)
            with os.fdopen(descriptor, "wb") as device:
                device.write(bytes(len(image)))
                device.flush()
                os.fsync(device.fileno())

    def seconds(self, place: str) -> float:
        """How long an installation takes."""
        began_s = time.monotonic()
        process = self.begin(place)
        process.wait()
        took_s = time.monotonic() - began_s
        self.end(process)
        return took_s

    def peak(self, place: str, interpreter: str = sys.executable) -> Peak:
        """The most memory that an installation has."""
        process = self.begin(place, interpreter)
        most = Peak(0, 0, 0)
        while process.poll() is None:
            most = Peak(*map(max, most, memory_of(process.pid)))
            time.sleep(0.02)
        self.end(process)
        return most


def memory_of(pid: int) -> Peak:
    """What a process and its children have now."""
    total = Peak(0, 0, 0)
    # Any of them may be gone a moment later.
    with suppress(OSError):
        children = [
            int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
        ]
        for one in (pid, *children):
            with suppress(OSError):
                lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()[1:]
                has = {name: int(value.split()[0]) / 1024 for name, _, value in (line.partition(":") for line in lines)}
                total = Peak(total.resident + has["Rss"], total.proportional + has["Pss"], total.processes + 1)
    return total


class Places(NamedTuple):
    """Where the release is, each time with a slash at the end."""

    costs: Costs
    directory: str
    plain: str
    tls: str


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    directory = tmp_path_factory.mktemp("cost")
    www = directory / "www"
    authority = Authority(directory / "authority")
    own = authority.sign("own")
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as runtime,
        LargeNode(directory, Path(runtime)) as node,
        servers.plain_nginx(directory, www) as plain,
        servers.nginx(directory, www, own, authority.certificate, "") as tls,
    ):
        node.write_config(channel=f'ca = "{authority.certificate}"', install="check_content = false")
        yield Places(Costs(node, www), f"{www}/", plain, tls)


def test_a_network_adds_little_memory(places: Places) -> None:
    # Looked at now and then, a short one may hide its highest moment.
    size, alone = places.costs.size, Peak(*map(max, *(places.costs.peak(places.directory) for _ in range(3))))
    assert alone.processes == 1
    print(f"{size} bytes from a directory: {alone.proportional:.1f} MiB, {alone.resident:.1f} resident")
    for name, place in (("http", places.plain), ("https", places.tls)):
        for whose, interpreter in (("Debian's pycurl", DEBIANS), ("PyPI's", sys.executable)):
            peak = places.costs.peak(place, interpreter)
            more = peak.proportional - alone.proportional
            assert peak.processes == 2
            print(f"by {name}, {whose}: {more:.1f} MiB more, {peak.resident - alone.resident:.1f} resident")
            assert interpreter != DEBIANS or more <= MORE_MIB


def test_a_line_without_a_limit_beside_a_directory(places: Places) -> None:
    """Each round has one installation from each; only those of one round are compared."""
    rounds = []
    for _ in range(ROUNDS):
        seconds = [places.costs.seconds(place) for place in (places.directory, places.plain, places.tls)]
        rounds.append((seconds[1] / seconds[0], seconds[2] / seconds[0]))
    for name, ratios in zip(("http", "https"), zip(*rounds, strict=True), strict=True):
        shown = " ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
        median = statistics.median(ratios)
        print(f"{places.costs.size} bytes by {name}: {median:.2f} times as long as from a directory ({shown})")
