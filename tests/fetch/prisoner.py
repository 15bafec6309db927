"""Locks itself in as the child does, then tries to break out, and writes as JSON what became of each attempt.

`prisoner.py free` tries without the jail what does no harm: each attempt has to succeed there, or it proves nothing.
"""

import ctypes
import encodings.idna  # noqa: F401 - socket loads it late
import errno
import json
import mmap
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from manageboot.fetch import jail, seccomp

PARENT = os.getppid()
FILES = {"/etc/hosts": (b"127.0.0.1 localhost\n", False), "/key": (b"secret", True)}

DEADLY = (335, 336)
"""uretprobe and uprobe, which the kernel lets past every filter: it kills whoever calls them by hand."""

libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: object) -> None:
    ctypes.set_errno(0)
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def named(name: str, *arguments: object) -> Callable[[], object]:
    return lambda: call(NUMBERS[name], *arguments)


HARMLESS: dict[str, Callable[[], object]] = {
    "open a device": lambda: os.open("/dev/null", os.O_RDWR),
    "read a file of the system": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "read the memory of another process": lambda: os.open(f"/proc/{PARENT}/mem", os.O_RDONLY),
    "write a file": lambda: os.open(f"{HOME}/new", os.O_WRONLY | os.O_CREAT),
    "write a file that is there": lambda: os.open(f"{HOME}/hosts", os.O_RDWR),
    "make a directory": lambda: os.mkdir(f"{HOME}/directory"),
    "make a device": lambda: os.mknod(f"{HOME}/device", 0o60600, os.makedev(7, 0)),
    "make a link": lambda: os.symlink("/", f"{HOME}/link"),
    "make a file executable": lambda: os.chmod(f"{HOME}/hosts", 0o755),
    "remove a file": lambda: os.unlink(f"{HOME}/hosts"),
    "leave for another directory": lambda: os.chdir("/etc"),
    "change the root": lambda: os.chroot("/"),
    "start a process": lambda: os.waitpid(os.fork() or os._exit(0), 0),
    "make a file in memory": lambda: os.memfd_create("x"),
    "map memory that can be executed": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
    "bind a port": lambda: socket.socket().bind(("127.0.0.1", 0)),
    "listen": lambda: socket.socket().listen(),
    "talk to daemons of this node": lambda: socket.socket(socket.AF_UNIX),
    "talk to the kernel": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "send packets of its own": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "see whether a process is there": lambda: os.kill(PARENT, 0),
    "change the limits of another process": lambda: resource.prlimit(PARENT, resource.RLIMIT_CORE),
    "have the kernel send signals": lambda: __import__("fcntl").fcntl(1, 8, os.getpid()),
    "change its priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0)),
    "become root": lambda: os.setresuid(0, 0, 0),
}
HARMFUL: dict[str, Callable[[], object]] = {
    "become another program": lambda: os.execv("/bin/true", ["true"]),
    "kill its parent": lambda: os.kill(PARENT, signal.SIGKILL),
    "trace its parent": named("ptrace", 16, PARENT, 0, 0),
    "read the memory of its parent": named("process_vm_readv", PARENT, 0, 0, 0, 0, 0),
    "mount": named("mount", b"none", b"/etc", b"tmpfs", 0, 0),
    "unmount": named("umount2", b"/", 0),
    "enter a namespace": named("unshare", 0x10000000),
    "start a process in a namespace": named("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0),
    "make memory executable": named("mprotect", 0, 4096, 5),
    "control a terminal": named("ioctl", 1, 0x5412, 0),
    "work past the filter": named("io_uring_setup", 1, 0),
    "load a program into the kernel": named("bpf", 0, 0, 0),
    "load a module": named("init_module", 0, 0, b""),
    "reboot": named("reboot", 0, 0, 0, 0),
    "set the clock": named("clock_settime", 0, 0),
    "be dumped": named("prctl", 4, 1, 0, 0, 0),
}
ALLOWED: dict[str, Callable[[], object]] = {
    "start a thread": lambda: (thread := threading.Thread(target=int), thread.start(), thread.join()),
    "make a connection": lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2]))),
    "ask for a name": lambda: socket.getaddrinfo("localhost", 80),
    "read its own files": lambda: (Path("/key").read_bytes(), Path("/etc/hosts").read_bytes()),
}
"""What it is for; else a jail that lets nobody do anything would pass."""


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


def answered(numbers: list[int]) -> list[int]:
    """Which system calls fail with another error than EPERM, or do not fail."""
    found = []
    for number in numbers:
        try:
            call(number, -1, -1, -1, -1, -1, -1)
            found.append(number)
        except OSError as error:
            if error.errno != errno.EPERM:
                found.append(number)
    return found


if __name__ == "__main__":
    library = seccomp.Library()
    NAMES = (
        "ptrace",
        "process_vm_readv",
        "mount",
        "umount2",
        "unshare",
        "clone",
        "mprotect",
        "ioctl",
        "io_uring_setup",
    )
    NAMES += ("bpf", "init_module", "reboot", "clock_settime", "prctl")
    NUMBERS = {name: library.number(name) for name in NAMES}
    listed = {library.number(name) for name in seccomp.CALLS}
    listed |= {library.number(name) for name, _ in seccomp.WITH_ARGUMENTS}
    if sys.argv[1] == "free":
        HOME = tempfile.mkdtemp(dir=sys.argv[2])
        Path(HOME, "hosts").touch()
        print(json.dumps({name: outcome(attempt) for name, attempt in HARMLESS.items()}))
    else:
        jail.close(FILES)
        HOME = "/etc"
        if sys.argv[1] == "foreign":
            # The same kernel has a second table of calls, which a filter may forget.
            call(0x40000000 + 39)
        others = [number for number in range(470) if number not in {*listed, *DEADLY}]
        print(
            json.dumps(
                {
                    "broken out": {name: outcome(attempt) for name, attempt in (HARMLESS | HARMFUL).items()},
                    "allowed": {name: outcome(attempt) for name, attempt in ALLOWED.items()},
                    "answered": answered(others),
                    "clone3": library.number("clone3"),
                }
            )
        )
