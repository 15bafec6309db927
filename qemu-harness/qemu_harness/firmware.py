"""The firmware of the machine, and where hosts keep it."""

import shutil
from enum import Enum
from pathlib import Path

from qemu_harness.process import HarnessError

DIRECTORY = Path("/usr/share/OVMF")
CODE = DIRECTORY / "OVMF_CODE_4M.fd"
VARIABLES = DIRECTORY / "OVMF_VARS_4M.fd"


class Firmware(Enum):
    """What starts GRUB."""

    UEFI = "OVMF"
    BIOS = "SeaBIOS"


def firmware_arguments(firmware: Firmware, directory: Path) -> list[str]:
    """Give QEMU's arguments for the firmware, with a copy of its variables in a directory of the machine's own."""
    if firmware is Firmware.BIOS:
        # QEMU has SeaBIOS built in. Without graphics it talks to the serial port, and so does what it starts.
        return ["-machine", "graphics=off"]
    if not CODE.exists():
        raise HarnessError(f"cannot find {CODE}: the firmware is not installed (Debian package ovmf)")
    variables = directory / "firmware-variables.fd"
    shutil.copyfile(VARIABLES, variables)
    return [
        "-drive",
        f"if=pflash,format=raw,readonly=on,file={CODE}",
        "-drive",
        f"if=pflash,format=raw,file={variables}",
    ]
