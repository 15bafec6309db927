"""The jail of the child: no root, no capability, no device, no file but a few that cannot be written, no way back.

Each wall would do for most attacks; together they do where one has a hole. What needs root comes first, and the filter
of system calls last, as it takes away what the others need.
"""

import ctypes
import os
import resource
from collections.abc import Mapping
from contextlib import suppress

from manageboot.fetch import seccomp

_CLONE_NEWNS, _CLONE_NEWIPC = 0x00020000, 0x08000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_REC, _MS_PRIVATE = 32, 0x4000, 1 << 18
_MNT_DETACH = 2
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 24, 38
_LAST_CAPABILITY = 63
"""More than there are; the kernel says where they end."""

_MOUNT_POINT = "/run"
"""A directory that every system has. What is in it is hidden from the child alone."""

USER_FIRST, USER_COUNT = 61184, 4336
"""Users that nobody is for long: those which systemd gives to services with DynamicUser."""

_MEMORY_MAX = 256 * 1024 * 1024
_DESCRIPTORS_MAX = 64
_THREADS_MAX = 16

_libc = ctypes.CDLL(None, use_errno=True)


def close(files: Mapping[str, tuple[bytes, bool]]) -> None:
    """Lock this process in, for as long as it lives. It has to be root, and may have no thread.

    Args:
        files: by their whole paths, all that it can read from now on: the content, and whether it is secret.

    Raises:
        OSError: a wall can't be built. The process must not go on.
    """
    filter_ = seccomp.Library()
    with suppress(OSError):
        # glibc loads it when a thread ends in some ways, and would abort where it can't.
        ctypes.CDLL("libgcc_s.so.1")
    user = USER_FIRST + os.getpid() % USER_COUNT
    _root(files, user, filter_.number("pivot_root"))
    _limits()
    for capability in range(_LAST_CAPABILITY + 1):
        # Fails for those that this kernel does not have.
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    # Another process of that user can neither trace it nor read its memory.
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    filter_.load()


def _root(files: Mapping[str, tuple[bytes, bool]], user: int, pivot_root: int) -> None:
    """Leave the file system for one in memory, which has these files and can't be written.

    The mounts of the system are left behind, not hidden: a copy of them would keep a slot's device busy.
    """
    _check(_libc.unshare(_CLONE_NEWNS | _CLONE_NEWIPC), "unshare")
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", _MOUNT_POINT, "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, "mode=755,size=16m")
    os.chdir(_MOUNT_POINT)
    os.umask(0o022)
    for path, (content, secret) in files.items():
        place = path.lstrip("/")
        os.makedirs(os.path.dirname(place) or ".", exist_ok=True)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with open(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, 0o400 if secret else 0o444)
            os.fchown(descriptor, user if secret else 0, 0)
    _check(_libc.syscall(pivot_root, b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", _MNT_DETACH), "umount2")
    os.chdir("/")
    _mount(None, "/", None, _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def _limits() -> None:
    for which, wanted in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_DATA, _MEMORY_MAX),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS_MAX),
        (resource.RLIMIT_NPROC, _THREADS_MAX),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        # A caller with a lower limit keeps it.
        hard = resource.getrlimit(which)[1]
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError):
            resource.setrlimit(which, (most, most))


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, data)]
    _check(_libc.mount(*texts[:3], ctypes.c_ulong(flags), texts[3]), f"mount {target}")


def _check(result: int, doing: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{doing}: {os.strerror(number)}")
