"""What can be opened, and what happens to an input while it is read."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from manageboot.errors import (
    DeviceError,
    ImageFormatError,
    ImageMemberError,
    ImageTruncatedError,
    InputError,
    ManagebootError,
    NotPermittedError,
    UsageError,
)
from manageboot.image import open_image
from manageboot.image.source import CHUNK_SIZE, Source
from support.archives import END, digests, member, read_path

MIB = 1 << 20
NOBODY = 65534
TraceFunction = Callable[[FrameType, str, Any], Any]
SMALL = member("boot.img", b"boot") + member("root.img", b"root") + END


@contextmanager
def stdin(fd: int) -> Iterator[None]:
    saved = os.dup(0)
    os.dup2(fd, 0)
    try:
        yield
    finally:
        os.dup2(saved, 0)
        os.close(saved)


def refused(paths: list[str], kind: type[ManagebootError], message: str) -> None:
    with pytest.raises(ManagebootError, match=message) as caught:
        open_image(paths)
    assert type(caught.value) is kind


def test_what_can_not_be_opened_as_an_archive(tmp_path: Path):
    refused([str(tmp_path / "none")], InputError, f"cannot open {tmp_path}/none: No such file")
    refused([str(tmp_path)], InputError, f"cannot open {tmp_path}: it is a directory")
    refused(["/dev/null"], InputError, "cannot open /dev/null: it is a character device")
    refused([], UsageError, "0 paths are given")
    refused(["a", "b", "c"], UsageError, "3 paths are given")


def test_what_can_not_be_opened_as_image_files(tmp_path: Path):
    good = tmp_path / "boot.img"
    good.write_bytes(bytes(2048))
    empty = tmp_path / "empty"
    empty.touch()
    refused([str(good), str(tmp_path / "none")], InputError, "none: No such file")
    refused([str(good), str(tmp_path)], InputError, "it is a directory, and root.img has to be a regular file")
    refused(["/dev/null", str(good)], InputError, "it is a character device, and boot.img has")
    refused(["-", str(good)], UsageError, "cannot read boot.img from standard input")
    refused([str(good), str(empty)], ImageMemberError, "cannot read .*empty: it is empty")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_a_file_that_may_not_be_read():
    path = "/etc/shadow"
    os.seteuid(NOBODY)
    try:
        refused([path], NotPermittedError, "cannot open /etc/shadow: Permission denied")
        refused([path, path], NotPermittedError, "cannot open /etc/shadow: Permission denied")
    finally:
        os.seteuid(0)


def test_standard_input_may_be_a_file_that_was_begun(tmp_path: Path):
    path = tmp_path / "image.bin"
    path.write_bytes(b"a line before it\n" + SMALL)
    fd = os.open(path, os.O_RDONLY)
    os.lseek(fd, 17, os.SEEK_SET)
    with stdin(fd), open_image(["-"]) as image:
        assert set(digests(image)) == {"boot.img", "root.img"}
        assert image.bytes_total == image.bytes_read == len(SMALL)
    os.close(fd)


def test_standard_input_may_be_a_socket():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(SMALL)
        ours.shutdown(socket.SHUT_WR)
        with stdin(theirs.fileno()), open_image(["-"]) as image:
            assert set(digests(image)) == {"boot.img", "root.img"}


def test_a_named_pipe(tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(SMALL,))
    writer.start()
    assert read_path(path) == {"boot.img": b"boot", "root.img": b"root"}
    writer.join()


def test_of_two_image_files_a_named_pipe_is_not_waited_for(tmp_path: Path):
    good, pipe = tmp_path / "good", tmp_path / "pipe"
    good.write_bytes(b"good")
    os.mkfifo(pipe)
    refused([str(good), str(pipe)], InputError, "it is a pipe, and root.img has to be a regular file")
    refused([str(pipe), str(good)], InputError, "it is a pipe, and boot.img has to be a regular file")


def test_closed_standard_input():
    saved = os.dup(0)
    os.close(0)
    try:
        refused(["-"], InputError, "cannot open standard input: Bad file descriptor")
    finally:
        os.dup2(saved, 0)
        os.close(saved)


def test_errors_name_standard_input():
    read_end, write_end = os.pipe()
    os.write(write_end, SMALL[:700])
    os.close(write_end)
    ends_early = pytest.raises(ImageTruncatedError, match=r"^cannot read standard input: it ends in the padding")
    with stdin(read_end), open_image(["-"]) as image, ends_early:
        digests(image)
    os.close(read_end)


def test_a_failing_read_is_an_io_error():
    refused(["/proc/self/mem"], DeviceError, "cannot read /proc/self/mem at 0: Input/output error")


def large_archive(path: Path) -> int:
    with path.open("wb") as file:
        file.write(member("boot.img", b"boot") + member("root.img", bytes(24 * MIB)) + END)
    return path.stat().st_size


def test_an_archive_that_shrinks(tmp_path: Path):
    path = tmp_path / "image.bin"
    size = large_archive(path)
    with open_image([str(path)]) as image:
        members = image.members()
        next(members)
        os.truncate(path, 20 * MIB)
        with pytest.raises(ImageTruncatedError, match=f"it shrank from {size} to {20 * MIB} bytes"):
            list(members)


def test_an_archive_that_grows(tmp_path: Path):
    path = tmp_path / "image.bin"
    large_archive(path)
    with open_image([str(path)]) as image:
        members = image.members()
        next(members)
        with path.open("ab") as file:
            file.write(b"more")
        with pytest.raises(ImageFormatError, match="it was changed while it was read"):
            list(members)


def test_an_archive_that_is_written_into(tmp_path: Path):
    """A second download to the same path, say."""
    path = tmp_path / "image.bin"
    large_archive(path)
    os.utime(path, (1, 1))
    with open_image([str(path)]) as image:
        members = image.members()
        next(members)
        with path.open("r+b") as file:
            file.seek(20 * MIB)
            file.write(b"another")
        with pytest.raises(ImageFormatError, match="it was changed while it was read"):
            list(members)


def test_an_archive_that_disappears(tmp_path: Path):
    path = tmp_path / "image.bin"
    large_archive(path)
    with open_image([str(path)]) as image:
        path.unlink()
        assert list(digests(image)) == ["boot.img", "root.img"]


def test_an_image_file_that_changes(tmp_path: Path):
    boot, root = tmp_path / "boot.img", tmp_path / "root.img"
    boot.write_bytes(bytes(4096))

    def read(change) -> None:
        root.write_bytes(b"r" * 4096)
        with open_image([str(boot), str(root)]) as image:
            members = image.members()
            next(members)
            last = next(members)
            change()
            last.readinto(memoryview(bytearray(4096)))
            next(members)

    with pytest.raises(StopIteration):
        read(lambda: None)
    with pytest.raises(ImageTruncatedError, match="it ends at 4000 of 4096 bytes"):
        read(lambda: os.truncate(root, 4000))
    with pytest.raises(ImageFormatError, match="its size went from 4096 to 5000 while it was read"):
        read(lambda: os.truncate(root, 5000))
    with pytest.raises(ImageFormatError, match="it was changed while it was read"):
        read(lambda: os.utime(root, ns=(1, 1)))


def test_close_ends_a_read_that_waits():
    """A pipe whose writer has gone quiet must not hold up an interrupted installation.

    Were it held up, it would read the end of its input when patience ends.
    """
    read_end, write_end = os.pipe()
    os.write(write_end, SMALL[:600])
    threads = threading.active_count()
    with stdin(read_end):
        source = Source("-")
    closing = threading.Timer(0.2, source.close)
    giving_up = threading.Timer(60, os.close, [write_end])
    for timer in (closing, giving_up):
        timer.start()
    with pytest.raises(DeviceError, match="cannot read standard input"):
        source.peek()
    giving_up.cancel()
    for timer in (closing, giving_up):
        timer.join()
    os.close(read_end)
    os.close(write_end)
    assert threading.active_count() <= threads


def test_two_who_close_at_once_close_it_once(monkeypatch: pytest.MonkeyPatch):
    """A second close of the same number would be that of a file which somebody has opened since."""
    read_end, write_end = os.pipe()
    with stdin(read_end):
        source = Source("-")
    closed: list[int] = []
    close = os.close
    monkeypatch.setattr(os, "close", lambda fd: (closed.append(fd), close(fd))[1])
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)

    def slowly(frame: FrameType, _event: str, _argument: object) -> TraceFunction | None:
        if frame.f_code is not Source.close.__code__:
            return None
        time.sleep(0.01)  # before each line, so that both are at the same one
        return slowly

    before = threading.gettrace()
    threading.settrace(slowly)
    try:
        closers = [threading.Thread(target=source.close) for _ in range(2)]
        for closer in closers:
            closer.start()
    finally:
        threading.settrace(before)
    for closer in closers:
        closer.join()
    source.close()
    monkeypatch.undo()
    assert (len(closed), len(set(closed)), failures) == (2, 2, [])
    os.close(read_end)
    os.close(write_end)


def test_nothing_is_left_open(tmp_path: Path):
    path = tmp_path / "image.bin"
    large_archive(path)
    before = len(os.listdir("/proc/self/fd"))
    threads = threading.active_count()
    for _ in range(3):
        with open_image([str(path)]) as image:
            next(image.members())  # the thread that reads ahead is full now
        image.close()
    path.write_bytes(b"no archive" * 100)
    with pytest.raises(ImageFormatError):
        open_image([str(path)])
    with pytest.raises(InputError):
        open_image([str(path), str(tmp_path)])
    assert len(os.listdir("/proc/self/fd")) <= before
    assert threading.active_count() <= threads


def test_what_is_read_ahead_is_bounded(tmp_path: Path):
    path = tmp_path / "image.bin"
    large_archive(path)
    fd = os.open(path, os.O_RDONLY)
    with stdin(fd), open_image(["-"]) as image:
        next(image.members())
        time.sleep(0.2)
        assert os.lseek(fd, 0, os.SEEK_CUR) <= 6 * CHUNK_SIZE
    os.close(fd)


def test_decompressors_are_imported_when_they_are_needed(tmp_path: Path):
    """Queries import these modules too, and have to start fast."""
    program = "import sys, manageboot.image; print(*{'zstandard', 'lzma', 'bz2', 'gzip'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], stdout=-1, text=True, check=True)
    assert done.stdout.strip() == ""
