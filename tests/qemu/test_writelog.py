"""QEMU's log of writes, read back."""

from pathlib import Path

import pytest

from qemu_harness.process import HarnessError, run
from qemu_harness.writelog import Kind, read_log

pytestmark = pytest.mark.qemu


def test_each_write_and_flush_is_there_in_its_order(tmp_path: Path):
    disk, log = tmp_path / "disk.img", tmp_path / "writes.log"
    disk.write_bytes(bytes(1 << 20))
    log.touch()
    image = f"driver=blklogwrites,file.driver=file,file.filename={disk},log.driver=file,log.filename={log}"
    commands = ("write -P 7 512 1024", "flush", "write -f -P 9 4096 512", "write -z 8192 4096", "flush")
    run(
        [
            *("qemu-io", "-d", "unmap", "--image-opts", f"{image},log-sector-size=512"),
            *(word for command in commands for word in ("-c", command)),
        ]
    )
    requests = list(read_log(log))
    kinds = [request.kind for request in requests]
    assert kinds[:2] == [Kind.WRITE, Kind.FLUSH]
    first = requests[0]
    assert (first.offset, first.size, first.is_durable) == (512, 1024, False)
    replayed = bytearray(1 << 20)
    with log.open("rb") as file:
        assert first.data(file) == b"\7" * 1024
        for request in requests:
            replayed[request.offset : request.offset + request.size] = request.data(file)
    assert bytes(replayed) == disk.read_bytes()
    assert [request.number for request in requests] == list(range(len(requests)))
    assert requests[-1].end <= log.stat().st_size


def test_another_file_is_no_log(tmp_path: Path):
    (tmp_path / "log").write_bytes(b"no log".ljust(4096, b"\0"))
    with pytest.raises(HarnessError, match="is no log of writes"):
        list(read_log(tmp_path / "log"))
