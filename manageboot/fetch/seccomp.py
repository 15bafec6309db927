"""The system calls that are left to the child: a list of those that a client of the network needs, by libseccomp.

libseccomp is there wherever systemd is, and knows the numbers of every architecture. It is called by ctypes: its
binding for Python would be one more package. What is not on the list fails with EPERM, as glibc and curl try some calls
that they can do without.
"""

import ctypes
import errno
import os
import socket

NAME = "libseccomp.so.2"

_ALLOW = 0x7FFF0000
_FAIL = 0x00050000
_EQUAL = 4
_MASKED_EQUAL = 7

_CLONE_THREAD = 0x00010000

CALLS = (
    # The two pipes, and sockets that others answer: no bind, no listen, no accept.
    *("read", "readv", "write", "writev", "close", "dup", "poll", "ppoll", "select", "_newselect", "pselect6"),
    *("epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2", "pipe2", "socketpair"),
    *("connect", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg", "send", "recv", "shutdown"),
    *("getsockopt", "setsockopt", "getsockname", "getpeername"),
    # The few files that lie in the jail.
    *("fstat", "fstat64", "stat", "stat64", "lstat", "newfstatat", "fstatat64", "statx", "lseek", "_llseek", "pread64"),
    *("access", "faccessat", "faccessat2"),
    # Memory, and threads: curl resolves names in one.
    *("munmap", "mremap", "madvise", "brk", "futex", "futex_time64", "set_robust_list", "rseq", "sched_yield"),
    *("sched_getaffinity", "membarrier", "restart_syscall", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn"),
    *("sigaltstack", "exit", "exit_group", "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "uname"),
    # Time and chance.
    *("clock_gettime", "clock_gettime64", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "getrandom"),
)
"""What may be called with any arguments. A name that the architecture does not have is left out."""


class _Comparison(ctypes.Structure):
    """An argument of a call that has to have a value."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def _is(argument: int, value: int) -> _Comparison:
    return _Comparison(argument, _EQUAL, value, 0)


def _has(argument: int, mask: int, value: int) -> _Comparison:
    return _Comparison(argument, _MASKED_EQUAL, mask, value)


_WRITING = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_EXECUTABLE = 4
_FIONREAD, _FIONBIO = 0x541B, 0x5421

WITH_ARGUMENTS: tuple[tuple[str, tuple[_Comparison, ...]], ...] = (
    ("socket", (_is(0, socket.AF_INET),)),
    ("socket", (_is(0, socket.AF_INET6),)),
    ("open", (_has(1, _WRITING, os.O_RDONLY),)),
    ("openat", (_has(2, _WRITING, os.O_RDONLY),)),
    ("mmap", (_has(2, _EXECUTABLE, 0),)),
    ("mmap2", (_has(2, _EXECUTABLE, 0),)),
    ("mprotect", (_has(2, _EXECUTABLE, 0),)),
    ("clone", (_has(0, _CLONE_THREAD, _CLONE_THREAD),)),
    ("ioctl", (_is(1, _FIONREAD),)),
    ("ioctl", (_is(1, _FIONBIO),)),
    # Not those that make the kernel send signals.
    *(
        (call, (_is(1, command),))
        for call in ("fcntl", "fcntl64")
        for command in (0, 1, 2, 3, 4, 1030)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC
    ),
)
"""What may be called with these arguments only."""


class Library:
    """Loaded before the jail is closed, as nothing can be loaded after that."""

    def __init__(self) -> None:
        """Load it.

        Raises:
            OSError: it is not installed.
        """
        self._library = ctypes.CDLL(NAME)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._library.seccomp_init.argtypes = (ctypes.c_uint32,)
        self._library.seccomp_load.argtypes = (ctypes.c_void_p,)
        self._library.seccomp_rule_add_array.argtypes = (
            *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison)),
        )

    def number(self, call: str) -> int:
        """Return the number of a system call on this machine; negative: it has none."""
        return int(self._library.seccomp_syscall_resolve_name(call.encode()))

    def load(self) -> None:
        """Take all system calls from this process, and from every thread that it starts, but those on the list.

        Raises:
            OSError: that does not work.
        """
        context = self._library.seccomp_init(_FAIL | errno.EPERM)
        if not context:
            raise MemoryError
        for call in CALLS:
            self._allow(context, call, ())
        for call, comparisons in WITH_ARGUMENTS:
            self._allow(context, call, comparisons)
        # Its flags lie in memory, where no filter sees them; glibc takes `clone` where it is told that there is none.
        self._add(context, _FAIL | errno.ENOSYS, "clone3", ())
        if failed := self._library.seccomp_load(context):
            raise OSError(-failed, os.strerror(-failed))

    def _allow(self, context: int, call: str, comparisons: tuple[_Comparison, ...]) -> None:
        self._add(context, _ALLOW, call, comparisons)

    def _add(self, context: int, action: int, call: str, comparisons: tuple[_Comparison, ...]) -> None:
        number = self.number(call)
        if number < 0:
            return
        array = (_Comparison * max(len(comparisons), 1))(*comparisons)
        failed = self._library.seccomp_rule_add_array(context, action, number, len(comparisons), array)
        if failed:
            raise OSError(-failed, f"{call}: {os.strerror(-failed)}")
