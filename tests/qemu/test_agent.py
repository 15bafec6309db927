"""Both ends of the guest agent, over a plain socket instead of a virtual machine."""

import importlib.util
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qemu_harness.agent import Agent, AgentSilent, CommandFailed
from qemu_harness.process import HarnessError
from qemu_harness.slot import OVERLAY

GUEST_END = OVERLAY / "usr/lib/manageboot-harness/agent.py"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[socket.socket]:
    """A listening socket in the place of QEMU's."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "port"))
        listener.listen()
        yield listener


@pytest.fixture
def agent(port: socket.socket) -> Iterator[Agent]:
    agent = Agent(Path(port.getsockname()), still_running=lambda: None)
    yield agent
    agent.close()


@pytest.fixture
def guest(port: socket.socket, agent: Agent) -> Iterator[socket.socket]:
    """The guest's end, with the node's own program behind it."""
    specification = importlib.util.spec_from_file_location("guest_agent", GUEST_END)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    connection, _ = port.accept()

    def serve() -> None:
        pending = b""
        while received := connection.recv(65536):
            pending = module.answer_lines(connection.fileno(), pending + received)

    thread = threading.Thread(target=serve)
    thread.start()
    yield connection
    connection.shutdown(socket.SHUT_RDWR)
    thread.join()
    connection.close()


def test_outputs_and_exit_code_come_back(agent: Agent, guest: socket.socket) -> None:
    done = agent.run("cat; echo wrong >&2; exit 3", stdin=b"in\nput")
    assert (done.stdout, done.stderr, done.exit_code) == ("in\nput", "wrong\n", 3)
    with pytest.raises(CommandFailed, match=r"(?s)exit status 3.*stdout: input.*stderr: wrong"):
        agent.run("printf input; echo wrong >&2; exit 3").check()


def test_words_are_not_taken_apart_by_a_shell(agent: Agent, guest: socket.socket) -> None:
    assert agent.run(["printf", "%s", "$HOME; true"]).stdout == "$HOME; true"


def test_much_output_arrives_whole(agent: Agent, guest: socket.socket) -> None:
    assert len(agent.run("head -c 3000000 /dev/zero | tr '\\0' x").stdout) == 3_000_000


def test_unknown_program_is_an_answer(agent: Agent, guest: socket.socket) -> None:
    done = agent.run(["no-such-program"])
    assert done.exit_code == 127
    assert "no-such-program" in done.stderr


def test_command_is_killed_when_its_time_is_up(agent: Agent, guest: socket.socket) -> None:
    with pytest.raises(AgentSilent, match="killed"):
        # The second sleep keeps the pipes open: only a kill of the whole group ends this.
        agent.run("sleep 60 & sleep 60", timeout_s=0.5)
    assert agent.run("echo alive").stdout == "alive\n"


def test_remains_of_a_reset_do_no_harm(agent: Agent, guest: socket.socket) -> None:
    guest.sendall(b'{"id": "old", "exit_code": 0}\n{"id": "half of an ans')
    assert agent.run("echo whole").stdout == "whole\n"


def test_another_boot_is_waited_for(agent: Agent, guest: socket.socket) -> None:
    boot_id = agent.wait_for_boot(None, timeout_s=60)
    assert boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with pytest.raises(AgentSilent, match="did not come up within 1 s"):
        agent.wait_for_boot(boot_id, timeout_s=1)


def test_end_of_the_machine_ends_the_waiting(port: socket.socket) -> None:
    def gone() -> None:
        raise HarnessError("QEMU ended")

    agent = Agent(Path(port.getsockname()), still_running=gone)
    started = time.monotonic()
    with pytest.raises(HarnessError, match="QEMU ended"):
        agent.run("true")
    # Long before it would have given up.
    assert time.monotonic() - started < 60
    agent.close()
