"""A node that nobody touches: it upgrades itself over a bad line, in its window, and goes back from what is bad.

Its releases come from servers on loopback, which it reaches at 10.0.2.2. Its clock begins after midnight, so that the
test decides when its window opens.
"""

import json
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from manageboot.publish import build
from manageboot.publish.build import Plan
from manageboot.release import index
from qemu_harness import network
from qemu_harness.cache import Cache
from qemu_harness.debian import chosen_release
from qemu_harness.disk import build_disk
from qemu_harness.machine import VirtualMachine
from qemu_harness.observation import observe
from qemu_harness.slot import build_slot_images
from qemu_harness.update import build_media
from support.authority import Authority
from support.hostile import Hostile, honest
from support.line import Line
from support.trials import INSTALL_DEADLINE_S, configuration, wait_for, wait_for_boot
from support.tufrepository import Repository

pytestmark = [pytest.mark.qemu, pytest.mark.long, pytest.mark.timeout(7200)]

PORT = 18_718
"""It is in the image of the node, so it can't be any."""
TLS_PORT = PORT + 1
UNDER_WAY = 144 * 1024
"""What has left the server and did not reach the node, at most: a piece, and what QEMU's network holds."""
FLUSHED_S = 5
"""What came earlier than that before a reset is on the disk; the node flushes each second of its own time, and may be
emulated by a machine that is busy."""
# Both ways: what the node sends, and what it gets, by way of ifb.
BAD_LINE = """\
#!/bin/sh
set -e
card=$(basename $(dirname $(grep -l -v 00:00:00:00:00:00 /sys/class/net/*/address)))
ip link add ifb0 type ifb
ip link set ifb0 up
tc qdisc add dev $card ingress
tc filter add dev $card parent ffff: matchall action mirred egress redirect dev ifb0
for end in $card ifb0; do tc qdisc replace dev $end root netem delay 10ms 3ms loss 0.5%; done
"""
WINDOW_OPEN = "02:10"
FILES = {
    "etc/manageboot/manageboot.toml": configuration()
    + f"""
[channel]
mirrors = ["http://{network.HOST}:{PORT}"]
root = "/media/root.json"
unattended = "commit"
window = "*-*-* 02:00"
window_duration = "2h"
""",
    # An hour is too long for a test.
    "etc/systemd/system/manageboot-update.timer.d/often.conf": "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/20\n"
    "RandomizedDelaySec=0\nAccuracySec=1s\n",
    "usr/local/sbin/bad-line": BAD_LINE,
    "etc/systemd/system/bad-line.service": "[Unit]\nAfter=systemd-networkd.service\nBefore=manageboot-update.service\n"
    "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=bad-line\n[Install]\nWantedBy=multi-user.target\n",
    # The third version is bad.
    "etc/manageboot/health.d/required/10-version": "#!/bin/sh\n! grep v3 /opt/ic/share/version.txt\n",
}
JAIL = """\
set -e
main=$(systemctl show -P MainPID manageboot-update)
for child in $(cat /proc/$main/task/*/children); do
    grep -E '^(Uid|CapEff|NoNewPrivs|Seccomp):' /proc/$child/status
done
"""


class Channel:
    """What is published, behind its line."""

    def __init__(self, cache: Cache, directory: Path) -> None:
        release = chosen_release()
        self.repository = Repository(directory / "www")
        self.line = Line(directory / "www", waits=True, port=PORT)
        system = network.build_network_system(cache, FILES, release)
        self._images = [build_slot_images(cache, system, f"0.1.0-v{number}") for number in (1, 2, 3)]
        self.disk = build_disk(cache, self._images[0], release=release)
        self.authority = Authority(directory / "authority")
        files = {"root.json": self.repository.root_path, "ca.pem": self.authority.certificate}
        self.media = build_media(Cache(directory / "cache"), files)

    def publish(self, number: int) -> index.Index:
        """Sign a release; return its index."""
        images, www = self._images[number - 1], self.repository.directory
        build.build([str(images.boot), str(images.root)], Plan(str(www), number, version=images.version, level=1))
        described = www / images.version / "release.json"
        self.repository.targets[f"{images.version}/release.json"] = described.read_bytes()
        self.repository.publish()
        return index.Index((www / images.version / "release.idx").read_bytes())

    def by_tls(self) -> Hostile:
        """The same, by TLS, from a server of its own."""
        own = self.authority.sign("own", names=f"IP:{network.HOST}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own.certificate, own.key)
        return Hostile(
            honest,
            folder=self.repository.directory,
            port=TLS_PORT,
            wrap=lambda connection: context.wrap_socket(connection, server_side=True),
        )


@pytest.fixture
def channel(cache: Cache, tmp_path: Path) -> Iterator[Channel]:
    channel = Channel(cache, tmp_path)
    with channel.line.server:
        yield channel


def last_update(machine: VirtualMachine) -> dict[str, Any]:
    """How the last update of this boot ended; nothing: none has."""
    done = machine.run("cat /run/manageboot/update.json")
    return json.loads(done.stdout) if done.exit_code == 0 else {"result": None}


def wait_for_result(machine: VirtualMachine, result: str) -> dict[str, Any]:
    """Wait until the timer has brought an update to this end."""
    ends_s = time.monotonic() + INSTALL_DEADLINE_S * 2
    while (known := last_update(machine))["result"] != result:
        # That it can't be reached is no end, while the network comes up, and neither is a trial that goes on.
        assert known["result"] in {None, "failed", "trial", "up-to-date"}, known
        assert time.monotonic() < ends_s, known
        time.sleep(1)
    return known


def open_window(machine: VirtualMachine, *, boots: int) -> None:
    """Make it night, and wait until the node has booted so many times."""
    target = len(machine.serial.boots()) + boots
    machine.check(f"date --set={WINDOW_OPEN}")
    wait_for_boot(machine, target)


def history(machine: VirtualMachine) -> list[str]:
    entries = json.loads(machine.check("manageboot history --json").stdout)["entries"]
    return [entry["event"] for entry in entries]


def test_a_node_upgrades_itself_over_a_bad_line_in_its_window(cache: Cache, channel: Channel) -> None:
    idx, line = channel.publish(2), channel.line
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    arguments = (*network.ARGUMENTS, "-rtc", f"base={tomorrow}T00:05:00")
    with VirtualMachine(cache, channel.disk, media=channel.media, extra_arguments=arguments) as machine:
        line.wake_after(idx.pack_size * 2 // 5)
        machine.wait_until_up(settled=False)
        assert line.reached.wait(INSTALL_DEADLINE_S), "no update began"
        assert machine.check("tc -s qdisc show dev ifb0 | grep -c 'netem.*delay 10ms *3ms loss 0.5%'").stdout == "1\n"
        jail = dict(line.split(":\t", 1) for line in machine.check(JAIL).stdout.splitlines())
        assert "0" not in jail.pop("Uid").split()
        assert jail == {"CapEff": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
        assert machine.check("manageboot status --json | grep -c bytes_total").stdout == "1\n"
        machine.reset()
        cut, late = line.sent, line.sent_since(time.monotonic() - FLUSHED_S)
        machine.wait_until_up(settled=False)
        known = wait_for_result(machine, "waiting")
        assert (known["release"]["version"], observe(machine).slot) == ("0.1.0-v2", "A")
        assert machine.check("systemctl show -P Result manageboot-update").stdout == "success\n"
        wasted, frame = line.sent - idx.pack_size, max(frame.size for frame in idx.frames())
        print(
            f"a reset after {cut} of {idx.pack_size} bytes, of which {late} in the last {FLUSHED_S} s: {wasted} bytes"
            f" came twice; the largest frame has {frame}"
        )
        # What was not flushed, the frame on its way, and the one with the header of boot, which comes last.
        assert 0 <= wasted <= late + 2 * frame + UNDER_WAY

        open_window(machine, boots=1)
        wait_for(machine, "manageboot history | grep -q confirmed")
        seen = observe(machine)
        assert (seen.slot, seen.version, seen.record("B")) == ("B", "0.1.0-v2", "confirmed 0.1.0-v2")
        told = ["installed", "committed", "trial_started", "confirmed"]
        assert [event for event in history(machine) if event in {*told, "fallback"}] == told

        # The next one does not stay.
        channel.publish(3)
        wait_for_result(machine, "waiting")
        open_window(machine, boots=2)
        sent = line.sent
        wait_for_result(machine, "set-aside")
        seen = observe(machine)
        assert (seen.slot, seen.version, seen.status["state"]) == ("B", "0.1.0-v2", "idle")
        assert seen.status["fallback"] == {"slot": "A", "cause": "unhealthy"}
        assert "fallback" in history(machine)
        machine.check(f"date --set={WINDOW_OPEN}")
        machine.check("systemctl start manageboot-update.service", timeout_s=INSTALL_DEADLINE_S)
        assert (last_update(machine)["result"], line.sent) == ("set-aside", sent)


CHECKS = """\
profile = "guestos"
[channel]
mirrors = ["{url}"]
root = "/media/root.json"
ca = "/media/ca.pem"
unattended = "check"
deadline = 10
stall = 10
"""
ASK_BY_TLS = "[Service]\\nExecStart=\\nExecStart=manageboot -c /run/tls.toml update\\n"


@pytest.mark.parametrize(
    ("clock", "said", "by_http"),
    [
        ("1970-01-02T00:00:00", "its certificate is valid from 20", ""),
        ("2100-01-02T00:00:00", "its certificate was valid until 20", "[CLOCK_AHEAD]"),
    ],
)
def test_a_clock_that_is_wrong_is_named_and_keeps_nothing_from_booting(
    cache: Cache, channel: Channel, clock: str, said: str, by_http: str
) -> None:
    """The node starts with it. By TLS an update ends with a word for it, and the next one works, once it is right."""
    arguments = (*network.ARGUMENTS, "-rtc", f"base={clock}")
    with (
        channel.by_tls(),
        VirtualMachine(cache, channel.disk, media=channel.media, extra_arguments=arguments) as machine,
    ):
        machine.wait_until_up()
        # So far it found nothing; by http it would install what it finds.
        machine.check("systemctl stop manageboot-update.timer manageboot-update.service")
        channel.publish(2)
        for name, url in (("tls", f"https://{network.HOST}:{TLS_PORT}"), ("http", f"http://{network.HOST}:{PORT}")):
            machine.check(f"cat >/run/{name}.toml", stdin=CHECKS.format(url=url).encode())
        drop_in = "/run/systemd/system/manageboot-update.service.d"
        machine.check(f"mkdir -p {drop_in}; printf '{ASK_BY_TLS}' >{drop_in}/tls.conf; systemctl daemon-reload")

        # systemd may have moved a clock that is too far off.
        machine.check(f"date --set={clock}")
        assert machine.run("systemctl start manageboot-update.service", timeout_s=INSTALL_DEADLINE_S).exit_code
        assert machine.check("systemctl show -P ExecMainStatus manageboot-update").stdout == "75\n"
        known = last_update(machine)
        assert (known["result"], known["code"]) == ("failed", "FETCH_CLOCK")
        assert said in known["text"]
        # Plain http needs no clock; metadata needs one that is not far ahead.
        asked = machine.run("manageboot -c /run/http.toml check")
        assert (asked.exit_code != 0, by_http in asked.stderr) == (bool(by_http), True), asked
        seen = observe(machine)
        assert (seen.slot, seen.status["state"], seen.record("B")) == ("A", "idle", "-")

        machine.check(f"date --set=@{time.time():.0f}")
        machine.check("systemctl start manageboot-update.service", timeout_s=INSTALL_DEADLINE_S)
        known = last_update(machine)
        assert (known["result"], known["release"]["version"]) == ("available", "0.1.0-v2")
