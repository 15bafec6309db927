"""The serial log, taken apart into boots."""

from pathlib import Path

import pytest

from qemu_harness.serial_log import SerialLog

FIRST = 'BdsDxe: starting Boot0001 "disk" from PciRoot\r\nWelcome to GRUB!\r\n'
SECOND = 'BdsDxe: starting Boot0001 "disk" from PciRoot\r\n\x1b[0m\x1b[37;40mmanageboot: slot B\r\n'


@pytest.mark.parametrize(
    ("written", "boots"),
    [("", []), ("firmware\r\n", []), (f"firmware\r\n{FIRST}", [FIRST]), (FIRST + SECOND, [FIRST, SECOND])],
)
def test_boots(tmp_path: Path, written: str, boots: list[str]) -> None:
    path = tmp_path / "serial.log"
    path.write_bytes(written.encode())
    clean = [boot.replace("\r", "").replace("\x1b[0m\x1b[37;40m", "") for boot in boots]
    assert SerialLog(path).boots() == clean


def test_last_boot_and_tail(tmp_path: Path) -> None:
    path = tmp_path / "serial.log"
    log = SerialLog(path)
    assert log.since_last_boot() == ""
    path.write_bytes(b"before any loader\r\n")
    assert log.since_last_boot() == "before any loader\n"
    path.write_bytes((FIRST + SECOND).encode())
    assert "Welcome" not in log.since_last_boot()
    assert log.tail(lines=1) == "manageboot: slot B"


def test_tail_of_a_menu_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "serial.log"
    path.write_bytes(b"\xc4\xc4\xc4   " * 1000 + b"Slot A, once" + b" " * 500 + b"*Restart\n")
    assert SerialLog(path).tail() == " Slot A, once *Restart"
