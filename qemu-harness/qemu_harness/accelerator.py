"""Which accelerator QEMU can really use on this host."""

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from qemu_harness.cache import Cache
from qemu_harness.firmware import Firmware, firmware_arguments
from qemu_harness.monitor import Monitor
from qemu_harness.process import HarnessError, environment


@dataclass(frozen=True)
class Accelerator:
    """How QEMU runs the guest's instructions, and on which model of a processor."""

    name: str
    cpu: str


KVM = Accelerator("kvm", "max")
# After a reset, QEMU drops what it translated before page by page, as the firmware writes over it. With its default of
# up to 1 GiB of translated code that takes 10 to 25 seconds for each reboot; with this limit, in MiB, one. With half of
# it, a boot takes a twelfth longer, because what was translated is thrown away too soon.
# A plain processor boots in two thirds of the time of "max", whose newer instructions and fifth level of page tables
# are slow to emulate.
EMULATION = Accelerator("tcg,thread=multi,tb-size=128", "qemu64")
# The firmware prints its first line well within a second where KVM works.
PROBE_DEADLINE_S = 8.0


def accelerator(cache: Cache) -> Accelerator:
    """Give the fastest accelerator that works; it is tried once for each start of the host."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    directory = cache.entry("accelerator", boot_id, _record)
    return KVM if json.loads((directory / "kvm.json").read_text()) else EMULATION


def _record(directory: Path) -> None:
    (directory / "kvm.json").write_text(json.dumps(kvm_works()))


def kvm_works() -> bool:
    """Tell whether firmware comes up under KVM.

    That /dev/kvm can be opened says little: where virtualization is nested badly, QEMU starts, the firmware dies with
    an internal error of KVM, and QEMU goes on running.
    """
    if not Path("/dev/kvm").exists():
        return False
    with tempfile.TemporaryDirectory(prefix="manageboot-kvm.") as scratch:
        serial, socket = Path(scratch, "serial"), Path(scratch, "monitor")
        argv = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults", "-no-user-config"]
        argv += ["-display", "none", "-machine", "q35", "-cpu", KVM.cpu, "-m", "256", "-accel", KVM.name]
        argv += firmware_arguments(Firmware.UEFI, Path(scratch))
        argv += ["-serial", f"file:{serial}", "-qmp", f"unix:{socket},server=on,wait=off"]
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
        ) as qemu:
            try:
                return _firmware_speaks(qemu, serial, socket)
            finally:
                qemu.kill()


def _firmware_speaks(qemu: subprocess.Popen[bytes], serial: Path, socket: Path) -> bool:
    """Wait until the firmware has printed something, or can do so no more."""
    deadline = time.monotonic() + PROBE_DEADLINE_S
    while time.monotonic() < deadline and qemu.poll() is None:
        if serial.exists() and serial.stat().st_size:
            return True
        if socket.exists():
            try:
                with Monitor(socket) as monitor:
                    if monitor.status() == "internal-error":
                        return False
            except HarnessError:
                pass  # QEMU is about to exit, or not ready yet
        time.sleep(0.1)
    return False
