"""A node in QEMU: started from firmware, driven through its guest agent, reset and switched off."""

import errno
import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from qemu_harness.accelerator import accelerator
from qemu_harness.agent import Agent, AgentSilent, Completed
from qemu_harness.cache import Cache
from qemu_harness.firmware import Firmware, firmware_arguments
from qemu_harness.monitor import Monitor
from qemu_harness.process import HarnessError, environment, run
from qemu_harness.serial_log import SerialLog

log = logging.getLogger(__name__)

MEMORY_MIB = 1024
# A boot takes 15 seconds on an idle machine; a loaded one may take many times as long.
BOOT_DEADLINE_S = float(os.environ.get("MANAGEBOOT_BOOT_DEADLINE", "240"))
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 240.0
LOGS_KEPT = 20
LOGS_SPARED_S = 6 * 3600.0
"""The machine that a log is of may still run."""


class MachineGone(HarnessError):  # noqa: N818 - named after what happened
    """QEMU has ended although nobody asked it to."""


class VirtualMachine:
    """A node and its QEMU; a context manager that leaves nothing behind but the logs."""

    def __init__(
        self,
        cache: Cache,
        disk: Path,
        *,
        media: Path | None = None,
        firmware: Firmware = Firmware.UEFI,
        refused_sectors: Sequence[int] = (),
        write_log: Path | None = None,
        extra_arguments: Sequence[str] = (),
    ) -> None:
        """Describe a machine; entering the context starts it.

        Args:
            disk: a raw image, which stays as it is: what the node writes goes to a layer over it.
            media: a raw image that the node gets as a second, read-only disk.
            firmware: what starts GRUB; the disk has to be made for it.
            refused_sectors: sectors of 512 bytes that the disk refuses to write until it is told to flush a write for
                the first time. GRUB never does that, the kernel does early: so they are read-only for GRUB alone.
            write_log: where to keep each write and flush that reaches the disk, from the first start on; `writelog`
                reads it. It grows with all that is written.
            extra_arguments: further arguments for QEMU.
        """
        self._base = disk
        self._media = media
        self._firmware = firmware
        self._refused_sectors = tuple(refused_sectors)
        self._write_log = write_log
        self._extra_arguments = tuple(extra_arguments)
        self.accelerator = accelerator(cache)
        self.log_directory = _new_log_directory(cache.directory / "logs")
        self.serial = SerialLog(self.log_directory / "serial.log")
        self._errors = self.log_directory / "qemu-stderr.log"
        self._qemu: subprocess.Popen[bytes] | None = None
        self._monitor: Monitor | None = None
        self._agent: Agent | None = None
        self.boot_id = ""

    def __enter__(self) -> Self:
        """Start the machine; it is not up yet."""
        # The paths of sockets are limited to about 100 bytes, so they lie in the system's own temporary directory.
        self._scratch = tempfile.TemporaryDirectory(prefix="manageboot-vm.")
        self._directory = Path(self._scratch.name)
        self._disk = self._directory / "disk.qcow2"
        try:
            run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self._base, self._disk])
            self._firmware_arguments = firmware_arguments(self._firmware, self._directory)
            self.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill QEMU and remove the disk; the logs stay."""
        self._close()

    def _close(self) -> None:
        self.kill()
        self._scratch.cleanup()

    @property
    def pid(self) -> int:
        """The process of QEMU."""
        if not self._qemu:
            raise HarnessError("the node is off, and QEMU has no process")
        return self._qemu.pid

    @property
    def command_line(self) -> list[str]:
        """The words that start QEMU."""
        machine = ["-machine", "q35", "-smp", "2", "-m", str(MEMORY_MIB)]
        machine += ["-accel", self.accelerator.name, "-cpu", self.accelerator.cpu]
        # The disk comes first, so that it is /dev/vda as on a real node.
        drives = [self._drive()]
        devices = ["virtio-blk-pci,drive=disk,bootindex=1"]
        if self._media:
            drives.append(f"if=none,id=media,format=raw,readonly=on,file={self._media}")
            devices.append("virtio-blk-pci,drive=media")
        devices += [
            "virtio-rng-pci",
            "virtio-serial-pci",
            "virtserialport,chardev=agent,name=manageboot.agent",
        ]
        return [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none"),
            *machine,
            *self._firmware_arguments,
            *(word for drive in drives for word in ("-drive", drive)),
            *("-chardev", f"file,id=serial,append=on,path={self.serial.path}", "-serial", "chardev:serial"),
            *("-chardev", f"socket,id=agent,server=on,wait=off,path={self._directory / 'agent'}"),
            *(word for device in devices for word in ("-device", device)),
            *("-qmp", f"unix:{self._directory / 'monitor'},server=on,wait=off"),
            *self._extra_arguments,
        ]

    def _drive(self) -> str:
        """Describe the disk; with refused sectors, or a log, a filter of QEMU lies between it and the node."""
        if self._write_log:
            # QEMU makes no such file. A machine that starts once more goes on in the same one.
            self._write_log.touch()
            append = "on" if self._write_log.stat().st_size else "off"
            return (
                f"if=none,id=disk,driver=blklogwrites,file.driver=qcow2,file.file.filename={self._disk},"
                f"file.cache.no-flush=on,file.file.cache.no-flush=on,log.driver=file,log.filename={self._write_log},"
                f"log.cache.no-flush=on,log-sector-size=512,log-append={append}"
            )
        if not self._refused_sectors:
            # The host's own power is not cut, so what the node flushes need not reach the host's disk.
            return f"if=none,id=disk,format=qcow2,cache=unsafe,file={self._disk}"
        words = ["if=none,id=disk,werror=report,driver=raw,file.driver=blkdebug,file.image.driver=qcow2"]
        words.append(f"file.image.file.filename={self._disk}")
        rules = [
            {"event": "none", "iotype": "write", "sector": sector, "errno": errno.EROFS}
            for sector in self._refused_sectors
        ]
        # Rules of one event last until another brings its own: so a flush ends all others, with one that nothing meets.
        rules.append({"event": "flush_to_disk", "iotype": "discard", "sector": 0, "errno": errno.EROFS})
        for number, rule in enumerate(rules):
            words += [f"file.inject-error.{number}.{key}={value}" for key, value in rule.items()]
        return ",".join(words)

    def start(self) -> None:
        """Start QEMU, with the disk as the node left it."""
        log.debug("serial log: %s", self.serial.path)
        # The kernel ends QEMU when this process ends, however it does.
        argv = ["setpriv", "--pdeathsig", "KILL", *self.command_line]
        with self._errors.open("ab") as errors:
            self._qemu = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, env=environment()
            )
        self._monitor = self._connect(self._directory / "monitor")
        # QEMU answers at its monitor only when everything else is set up.
        self._agent = Agent(self._directory / "agent", self._still_running)

    def _connect(self, socket: Path) -> Monitor:
        """Wait for the monitor; QEMU makes the socket a moment before it listens, and may end in between."""
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            self._still_running()
            if socket.exists() or time.monotonic() > deadline:
                try:
                    return Monitor(socket)
                except HarnessError:
                    if time.monotonic() > deadline:
                        raise
            time.sleep(0.05)

    def wait_until_up(self, timeout_s: float = BOOT_DEADLINE_S, *, settled: bool = True) -> str:
        """Wait until the node runs, in another boot than the last one waited for; give the boot's identifier.

        Args:
            timeout_s: for how long.
            settled: wait until all that starts at boot has started, too. A service that does its work and ends, as an
                update does, counts as starting until then.
        """
        try:
            self.boot_id = self._need_agent().wait_for_boot(self.boot_id, timeout_s)
            if not settled:
                return self.boot_id
            # Failed units are the tests' business, so the answer "degraded", exit status 1, is as good as "running".
            self.run("systemctl is-system-running --wait", timeout_s=timeout_s)
        except AgentSilent as error:
            raise HarnessError(f"{error}{self._last_words()}") from error
        return self.boot_id

    def run(self, command: str | Sequence[str], *, stdin: bytes = b"", timeout_s: float = 120.0) -> Completed:
        """Run a shell line, or the words of a command, on the node as root."""
        return self._need_agent().run(command, stdin=stdin, timeout_s=timeout_s)

    def check(self, command: str | Sequence[str], *, stdin: bytes = b"", timeout_s: float = 120.0) -> Completed:
        """Run a command on the node that has to succeed; the error holds its outputs."""
        return self.run(command, stdin=stdin, timeout_s=timeout_s).check()

    def reset(self) -> None:
        """Push the reset button: the node has no chance to flush anything."""
        if not self._monitor:
            raise HarnessError("cannot reset the node: it is off")
        self._monitor.execute("system_reset")

    def power_off(self) -> None:
        """Shut the node down in good order, and wait until QEMU has ended."""
        qemu = self._qemu
        if not qemu:
            return
        self.check("systemctl --no-block poweroff")
        try:
            qemu.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired as error:
            raise HarnessError(f"the node did not switch itself off{self._last_words()}") from error
        self.kill()

    def kill(self) -> None:
        """End QEMU at once. What the node wrote stays: this is a reset, not a power cut."""
        if self._agent:
            self._agent.close()
        if self._monitor:
            self._monitor.close()
        if self._qemu:
            self._qemu.kill()
            self._qemu.wait()
        self._agent = self._monitor = self._qemu = None

    def export_disk(self, image: Path) -> None:
        """Write the disk of a node that is off to a raw image."""
        if self._qemu:
            raise HarnessError("cannot export the disk of a node that is on")
        run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", self._disk, image])

    def _need_agent(self) -> Agent:
        if not self._agent:
            raise HarnessError("cannot talk to the node: it is off")
        return self._agent

    def _still_running(self) -> None:
        """Notice at once when QEMU ends."""
        if self._qemu and self._qemu.poll() is not None:
            raise MachineGone(f"QEMU ended with exit status {self._qemu.returncode}{self._last_words()}")

    def _last_words(self) -> str:
        """Give what a person needs to see first when a machine has failed."""
        errors = self._errors.read_text(errors="replace").strip()
        return (
            f"\nQEMU's messages: {errors or 'none'}"
            f"\nthe machine: {self._standing()}"
            f"\nserial log: {self.serial.path}, its last lines:\n{self.serial.tail()}"
        )

    def _standing(self) -> str:
        """Say where the machine stands as QEMU sees it: a node that hangs writes nothing more to its serial port."""
        if not self._monitor or not self._qemu or self._qemu.poll() is not None:
            return "off"
        try:
            state = self._monitor.status()
            processors = self._monitor.tell("info cpus") + self._monitor.tell("info registers -a")
            # Where each one executes, and whether it waits; the other registers fill pages.
            places = [line.strip() for line in processors.splitlines() if "CPU" in line or "IP=" in line]
            return "\n  ".join([state, *places])
        except HarnessError as error:
            return f"QEMU runs, and does not answer: {error}"


def _new_log_directory(logs: Path) -> Path:
    """Make a directory for the logs of one machine, and remove those of long ago."""
    logs.mkdir(parents=True, exist_ok=True)
    for old in sorted(logs.iterdir())[:-LOGS_KEPT]:
        if _age_s(old) > LOGS_SPARED_S:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S."), dir=logs))


def _age_s(directory: Path) -> float:
    """Say how long ago a machine was made whose logs lie there; 0: another process removes them just now."""
    try:
        return time.time() - directory.stat().st_mtime
    except FileNotFoundError:
        return 0.0
