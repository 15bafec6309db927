"""What callers do to manageboot.sh: each ends in a documented exit status, one error line, and a node that boots."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from support import forked
from support.guestnode import GuestNode, release
from support.images import MIB
from support.loop import run

pytestmark = [pytest.mark.devices, pytest.mark.grub]

PATIENCE_S = 60
PIPE_BYTES = 64 << 10


class Caller:
    """Somebody who runs manageboot.sh on a node."""

    def __init__(self, node: GuestNode) -> None:
        self.node = node
        self.program = str(node.directory / "manageboot.sh")

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start it, with pipes as the orchestrator has them."""
        usual = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([self.program, "guestos", *map(str, arguments)], **{**usual, **options})

    def run(self, *arguments: str | Path, **options: Any) -> tuple[int, str]:
        """Run it to its end; return its exit status and the code word of its error line."""
        command = [self.program, "guestos", *map(str, arguments)]
        done = forked.run(command, **{"stdin": subprocess.DEVNULL, "timeout": PATIENCE_S, **options})
        errors = [line for line in done.stderr.splitlines() if ": error: " in line]
        assert len(errors) == bool(done.returncode), done.stderr
        assert not done.stdout
        return done.returncode, errors[0].rpartition("[")[2].rstrip("]") if errors else ""

    @contextmanager
    def running(self, *arguments: str | Path, image: Path, **options: Any) -> Iterator["Running"]:
        """Start an installation, and keep it from ending: it reads a pipe that lacks its last bytes."""
        with Running(self, image, arguments, options) as running:
            yield running


class Running:
    """An installation on its way."""

    def __init__(self, caller: Caller, image: Path, arguments: tuple[str | Path, ...], options: dict[str, Any]) -> None:
        self._pipe = caller.node.directory / "pipe"
        self._image = image.read_bytes()
        os.mkfifo(self._pipe)
        self.process = caller.start("upgrade-install", self._pipe, *arguments, **options)

    def __enter__(self) -> Self:
        self._input = self._pipe.open("wb", buffering=0)
        self._input.write(self._image[:-512])
        return self

    def finish(self) -> int:
        """Let it have the rest."""
        self._input.write(self._image[-512:])
        self._input.close()
        return self.process.wait(PATIENCE_S)

    def __exit__(self, *_: object) -> None:
        self._input.close()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    with GuestNode(tmp_path) as node:
        assert node.boot() == "A"
        yield Caller(node)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """More than the first piece, which has to be there before anything begins."""
    return release(tmp_path / "v1", "v1", root_size=4 * MIB, density=0.9)


def wait_for(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def can_be_upgraded(caller: Caller, image: Path) -> None:
    """Say whether all is well: the old system boots, and a new attempt brings the new one."""
    assert caller.node.boot() == "A"
    assert caller.run("upgrade-install", image) == (0, "")
    assert caller.run("upgrade-commit") == (0, "")
    assert caller.node.boot() == "B"


def test_pipes_that_nobody_reads(caller: Caller, image: Path):
    ends = [os.pipe(), os.pipe()]
    for _, write_end in ends:
        os.write(write_end, bytes(PIPE_BYTES))
    pipes = {"stdout": ends[0][1], "stderr": ends[1][1]}
    for action in (("upgrade-install", image, "--progress", "json"), ("upgrade-commit",), ("confirm",)):
        with caller.start(*action, **pipes) as process:
            assert process.wait(PATIENCE_S) == 0
    # An error changes nothing about that.
    with caller.start("upgrade-install", image, **pipes) as process:
        assert process.wait(PATIENCE_S) == 69
    for descriptor in (end for pair in ends for end in pair):
        os.close(descriptor)
    assert caller.node.boot() == "B"


def test_pipes_that_break(caller: Caller, image: Path):
    for action in (("upgrade-install", image, "--progress", "json"), ("upgrade-commit",)):
        ends = [os.pipe(), os.pipe()]
        for read_end, _ in ends:
            os.close(read_end)
        with caller.start(*action, stdout=ends[0][1], stderr=ends[1][1]) as process:
            assert process.wait(PATIENCE_S) == 0
        for _, write_end in ends:
            os.close(write_end)
    assert caller.node.boot() == "B"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_nothing_open(caller: Caller, image: Path, closed: str):
    script = (
        f"{caller.program} guestos upgrade-install {image} {closed} && {caller.program} guestos upgrade-commit {closed}"
    )
    subprocess.run(["sh", "-c", script], check=True, timeout=PATIENCE_S)
    assert caller.node.boot() == "B"


def test_the_caller_is_killed(caller: Caller, image: Path):
    """The installation goes on without it."""
    pipe = caller.node.directory / "pipe"
    os.mkfifo(pipe)
    code = (
        "import subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,"
        "stderr=subprocess.PIPE); print(p.pid, flush=True); p.wait()"
    )
    command = [
        sys.executable,
        "-c",
        code,
        caller.program,
        "guestos",
        "upgrade-install",
        str(pipe),
        "--progress",
        "json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        child = int(process.stdout.readline())
        with pipe.open("wb", buffering=0) as file:
            data = image.read_bytes()
            file.write(data[:-512])
            process.kill()
            process.wait()
            file.write(data[-512:])
    wait_for(lambda: caller.node.record("B") == "installed")
    wait_for(lambda: not Path(f"/proc/{child}").exists() or "\nState:\tZ" in Path(f"/proc/{child}/status").read_text())
    assert caller.run("upgrade-commit") == (0, "")
    assert caller.node.boot() == "B"


@pytest.fixture
def hangup() -> Iterator[None]:
    """SIGHUP as a terminal leaves it; who runs these tests under nohup has it ignored, and so would the runs."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 143)])
def test_it_is_ended(caller: Caller, image: Path, number: signal.Signals, status: int):
    with caller.running(image=image) as running:
        wait_for(lambda: caller.node.record("B") == "installing")
        running.process.send_signal(number)
        assert running.process.wait(PATIENCE_S) == status
    assert caller.run("upgrade-commit") == (69, "NOTHING_INSTALLED")
    can_be_upgraded(caller, image)


def test_it_is_killed(caller: Caller, image: Path):
    with caller.running(image=image) as running:
        wait_for(lambda: caller.node.record("B") == "installing")
        running.process.kill()
        assert running.process.wait(PATIENCE_S) == -signal.SIGKILL
    assert caller.run("upgrade-commit") == (69, "NOTHING_INSTALLED")
    can_be_upgraded(caller, image)


def test_a_lost_connection_after_the_block_is_written(caller: Caller, image: Path):
    assert caller.run("upgrade-install", image) == (0, "")
    at_the_record = ["-P", caller.node.state / "record.json.new", "-e", "inject=rename:signal=HUP"]
    inject = ["strace", "-f", "-o", "/dev/null", *at_the_record]
    done = subprocess.run([*inject, caller.program, "guestos", "upgrade-commit"], check=False, timeout=PATIENCE_S)
    assert done.returncode == 0
    assert caller.node.boot() == "B"


def test_the_same_again_while_the_first_is_on_its_way(caller: Caller, image: Path):
    with caller.running(image=image) as first:
        wait_for(lambda: caller.node.record("B") == "installing")
        assert caller.run("upgrade-install", image) == (75, "LOCKED")
        assert caller.run("upgrade-commit") == (75, "LOCKED")
        assert caller.run("upgrade-install", image, "--lock-timeout", "1") == (75, "LOCKED")
        # A confirm where there is nothing to confirm waits for nobody.
        assert caller.run("confirm") == (0, "")
        with caller.start("upgrade-install", image, "--lock-timeout", "60") as second:
            assert first.finish() == 0
            second.communicate(timeout=PATIENCE_S)
            assert second.returncode == 0
    can_be_upgraded(caller, image)


def test_the_configuration_lets_old_callers_wait(caller: Caller, image: Path):
    caller.node.write_config(state='lock_timeout = "1min"')
    with caller.running(image=image) as first:
        wait_for(lambda: caller.node.record("B") == "installing")
        with caller.start("upgrade-install", image) as second:
            assert first.finish() == 0
            second.communicate(timeout=PATIENCE_S)
            assert second.returncode == 0
    can_be_upgraded(caller, image)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """More than is read ahead."""
    return release(tmp_path / "large", "large", root_size=64 * MIB, density=0.9)


def stopped_installation(caller: Caller, path: Path) -> subprocess.Popen[str]:
    """Start an installation, and stop it when it has begun to read."""
    process = caller.start("upgrade-install", path, "--progress", "json")
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGSTOP)
    return process


def test_the_image_disappears(caller: Caller, large: Path):
    """What is open stays there."""
    with stopped_installation(caller, large) as process:
        large.unlink()
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert caller.run("upgrade-commit") == (0, "")
    assert caller.node.boot() == "B"


def test_the_image_is_replaced_by_a_second_download(caller: Caller, large: Path, image: Path):
    with stopped_installation(caller, large) as process:
        large.write_bytes(image.read_bytes())
        process.send_signal(signal.SIGCONT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said.count(": error: ")) == (65, 1), said
    assert caller.run("upgrade-commit") == (69, "NOTHING_INSTALLED")
    can_be_upgraded(caller, image)


@contextmanager
def full_file_system(path: Path) -> Iterator[None]:
    """Make a directory a file system without room; what lay there lies on it."""
    path.mkdir(exist_ok=True)
    files = {file.name: file.read_bytes() for file in path.iterdir()}
    run("mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", path)
    try:
        for name, data in files.items():
            (path / name).write_bytes(data)
        with (path / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space left"):
            while True:
                filler.write(bytes(4096))
        yield
    finally:
        run("umount", path)


def test_a_full_var(caller: Caller, image: Path):
    """Refused before anything is void; and what is installed can be committed and confirmed all the same."""
    first = release(caller.node.directory / "first", "first")
    assert caller.run("upgrade-install", first) == (0, "")
    before = caller.node.device_head("B")
    with full_file_system(caller.node.state):
        assert caller.run("upgrade-install", image) == (73, "CANNOT_CREATE")
    assert caller.node.device_head("B") == before
    with full_file_system(caller.node.state):
        assert caller.run("upgrade-commit") == (0, "")
    assert caller.node.boot() == "B"
    with full_file_system(caller.node.state):
        assert caller.run("confirm") == (0, "")
    assert [caller.node.boot(), caller.node.boot()] == ["B", "B"]


def test_a_full_run(caller: Caller, image: Path):
    with full_file_system(caller.node.lock.parent):
        assert caller.run("upgrade-install", image, "--progress", "json") == (0, "")
        assert caller.run("upgrade-commit") == (0, "")
        assert caller.node.boot() == "B"
        assert caller.run("confirm") == (0, "")
    assert [caller.node.boot(), caller.node.boot()] == ["B", "B"]


def test_sixty_confirms_at_once(caller: Caller, image: Path):
    # On a machine with other work to do, sixty of them take longer than one usually waits for another.
    caller.node.write_config(state='lock_timeout = "10min"')
    assert caller.run("upgrade-install", image) == (0, "")
    assert caller.run("upgrade-commit") == (0, "")
    assert caller.node.boot() == "B"
    confirms = [caller.start("confirm", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(60)]
    said = [confirm.communicate(timeout=PATIENCE_S)[1] for confirm in confirms]
    assert [confirm.returncode for confirm in confirms] == [0] * 60
    assert sum("slot B is confirmed" in text for text in said) >= 1
    assert [caller.node.boot(), caller.node.boot()] == ["B", "B"]


def test_commit_returns_before_the_reboot(caller: Caller, image: Path):
    """The profile's own command, and a systemd-run that only writes down what it is told."""
    node = caller.node
    text = node.config.read_text()
    node.config.write_text("\n".join(line for line in text.splitlines() if not line.startswith("reboot_command")))
    fake = node.directory / "bin" / "systemd-run"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >>{node.directory}/told\n')
    fake.chmod(0o755)
    environment = {**os.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}"}
    assert caller.run("upgrade-install", image) == (0, "")
    assert caller.run("upgrade-commit", env=environment) == (0, "")
    told = (node.directory / "told").read_text()
    assert told.startswith("--on-active=2 --timer-property=AccuracySec=100ms ")
    assert told.endswith(" systemctl reboot\n")
    # Where it does not work, the slot is armed and the caller is told so; committing again is all there is to do.
    fake.write_text("#!/bin/sh\nexit 1\n")
    assert caller.run("upgrade-commit", env=environment) == (74, "ARMED_NOT_REBOOTED")
    assert node.boot() == "B"
