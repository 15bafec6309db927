"""Both programs, without the time that Python takes to start: a copy of this process becomes one of them."""

import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from manageboot import __main__ as manageboot
from manageboot import config
from manageboot.icos import __main__ as manageboot_sh

MAINS = {"manageboot": manageboot.main, "manageboot.sh": manageboot_sh.main}


class Result(NamedTuple):
    """What a caller sees."""

    status: int
    stdout: str
    stderr: str


def call(program: str, configuration: Path, *arguments: str | Path) -> Result:
    """Run a program, with the configuration where the node would have it."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if not child:
            _become(program, configuration, arguments, stdout.fileno(), stderr.fileno())
        _, status = os.waitpid(child, 0)
        stdout.seek(0)
        stderr.seek(0)
        return Result(os.waitstatus_to_exitcode(status), stdout.read().decode(), stderr.read().decode())


def _become(program: str, configuration: Path, arguments: tuple[str | Path, ...], stdout: int, stderr: int) -> None:
    status = 99
    try:
        for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), stdout, stderr)):
            os.dup2(descriptor, number)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = [program, *map(str, arguments)]
        config.CONFIG_PATHS = (str(configuration),)
        status = MAINS[program]()
        sys.stdout.flush()
    finally:
        os._exit(status)
