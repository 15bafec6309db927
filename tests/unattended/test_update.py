"""A node updates itself from a signed channel, on loop devices: what it takes, when it commits, and what it leaves."""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from manageboot import config
from manageboot.boot import record
from manageboot.channel import turn
from manageboot.config import Config
from manageboot.system import lock
from manageboot.unattended import look, memory, window
from manageboot.unattended.memory import Memory
from manageboot.unattended.window import Opening
from unattended.updatenode import NEVER, UpdateNode, update_node

pytestmark = pytest.mark.devices


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UpdateNode]:
    (tmp_path / "machine-id").write_text("0123456789abcdef" * 2)
    monkeypatch.setattr(turn, "_MACHINE_ID", str(tmp_path / "machine-id"))
    with update_node(tmp_path) as node:
        yield node


def settings(node: UpdateNode) -> Config:
    return config.load(str(node.node.config))


def test_it_installs_and_commits_and_ends_where_there_is_nothing_newer(node: UpdateNode):
    node.publish(1)
    assert node.update() == "committed"
    assert (node.holds("B"), node.reboots(), node.node.block()["boot_cycle"]) == ("1.1", 1, "first_boot")
    assert node.update() == "pending"
    assert node.node.boot() == "B"
    assert node.update() == "trial"
    assert node.run("confirm") == 0
    assert node.update() == "up-to-date"
    assert (node.reboots(), node.remembered()["committed"]) == (1, None)


def test_each_policy_goes_as_far_as_it_may(node: UpdateNode):
    node.publish(1)
    node.configure("check")
    assert (node.update(), node.holds("B"), node.events()) == ("available", None, ["update_available"])
    assert not node.memory.exists()
    node.configure("install")
    assert (node.update(), node.update()) == ("installed", "installed")
    assert (node.holds("B"), node.reboots()) == ("1.1", 0)
    node.configure("commit", NEVER)
    assert node.update() == "waiting"
    assert node.last()["text"].endswith("waits for its window, which never opens again")
    node.configure("commit", "")
    assert (node.update(), node.reboots()) == ("no-window", 0)
    node.configure("commit")
    assert (node.update(), node.reboots()) == ("committed", 1)
    # One installation did for all of that.
    assert node.events() == ["update_available", "installed", "committed"]


def test_what_fell_back_is_not_taken_again_until_somebody_says_so(node: UpdateNode):
    node.publish(1)
    assert node.update() == "committed"
    assert [node.node.boot(), node.node.boot()] == ["B", "A"]
    assert (node.update(), node.update()) == ("set-aside", "set-aside")
    [aside] = node.remembered()["set_aside"]
    assert (aside["version"], aside["cause"], node.remembered()["committed"]) == ("1.1", "unknown", None)
    assert node.events().count("update_set_aside") == 1
    # Another installation takes away all that tells of the fallback, but for this.
    (node.node.state / "record.json").unlink()
    (node.node.grubenv.parent / "manageboot.log").unlink()
    assert (node.update(), node.reboots()) == ("set-aside", 1)


@pytest.mark.long
def test_whoever_says_so_gets_it_once_more(node: UpdateNode):
    node.publish(1)
    assert [node.update(), node.node.boot(), node.node.boot(), node.update()] == ["committed", "B", "A", "set-aside"]
    assert node.update("--retry") == "committed"
    assert [node.node.boot(), node.node.boot(), node.update()] == ["B", "A", "set-aside"]
    assert node.reboots() == 2


@pytest.mark.long
def test_a_newer_release_is_taken_after_one_that_fell_back(node: UpdateNode):
    node.publish(1)
    node.publish(2)
    assert node.update() == "committed"
    assert (node.holds("B"), node.node.boot(), node.node.boot()) == ("1.2", "B", "A")
    # The one before it was not tried here.
    assert (node.update(), node.holds("B")) == ("committed", "1.1")
    assert [node.node.boot(), node.run("confirm"), node.update()] == ["B", 0, "set-aside"]
    node.publish(3)
    assert (node.update(), node.holds("A")) == ("committed", "1.3")
    assert [node.node.boot(), node.run("confirm"), node.update()] == ["A", 0, "up-to-date"]
    assert node.remembered()["set_aside"] == []


def test_where_nothing_tells_what_became_of_it_once_is_enough(node: UpdateNode):
    """Another grub.cfg, no record, no history: a node that reboots every hour would be worse than an old one."""
    node.publish(1)
    assert node.update() == "committed"
    (node.node.state / "record.json").unlink()
    (node.node.grubenv.parent / "manageboot.log").unlink()
    (node.node.grubenv.parent / "manageboot.floor").unlink()
    node.node.set_block(boot_alternative="A", boot_cycle="stable", mb_fallback="", mb_trial="")
    assert (node.update(), node.reboots()) == ("set-aside", 1)


def test_what_somebody_went_back_from_is_not_taken_again(node: UpdateNode):
    node.publish(1)
    assert (node.update(), node.node.boot(), node.run("confirm")) == ("committed", "B", 0)
    assert (node.run("rollback", "--no-reboot"), node.node.boot(), node.run("confirm")) == (0, "A", 0)
    assert node.update() == "up-to-date"


def test_what_somebody_takes_back_is_not_taken_again(node: UpdateNode):
    node.publish(1)
    node.configure("install")
    assert (node.update(), node.run("upgrade-cancel")) == ("installed", 0)
    assert node.update() == "set-aside"
    assert node.remembered()["set_aside"][0]["cause"] == "cancelled"
    assert "release 1.1, index 1: somebody took it back" in node.node.ok("status")
    # Said once, it holds, though the history still has it.
    assert node.update("--retry") == "installed"
    assert node.update() == "installed"


def test_what_somebody_has_installed_is_theirs(node: UpdateNode):
    node.publish(1)
    assert node.run("upgrade-install") == 0
    assert node.update() == "by-hand"
    node.publish(2)
    assert (node.update(), node.holds("B"), node.reboots()) == ("by-hand", "1.1", 0)


def test_what_it_has_installed_stays_its_own_until_the_next_release_is_there(
    node: UpdateNode, monkeypatch: pytest.MonkeyPatch
):
    """Whether the next one can't be had, or the power goes before its record is begun."""
    node.publish(1)
    node.configure("install")
    assert node.update() == "installed"
    node.publish(2)
    index = node.repository.directory / "1.2" / "release.idx"
    content = index.read_bytes()
    index.unlink()
    assert (node.run("update"), node.holds("B")) == (66, "1.1")
    assert (node.update(), node.last()["failures"]) == ("later", 1)
    index.write_bytes(content)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(record, "store", cut)
        assert (node.run("update", "--retry"), node.holds("B")) == (130, "1.1")
    (node.node.lock.parent / "update.json").unlink()
    assert (node.update(), node.holds("B")) == ("installed", "1.2")
    # From then on, who installs the older one by hand means it.
    assert node.run("upgrade-install", str(node.repository.directory / "1.1")) == 0
    assert (node.update(), node.holds("B")) == ("by-hand", "1.1")


def test_what_is_paused_or_withdrawn_after_its_installation_is_not_committed(node: UpdateNode):
    node.publish(1)
    node.configure("install")
    assert node.update() == "installed"
    node.configure("commit")
    node.stage(1, 0)
    assert node.update() == "staged"
    node.withdraw(1)
    assert node.update() == "up-to-date"
    assert node.reboots() == 0


def test_a_rollout_holds_back_what_is_unattended_and_nothing_else(node: UpdateNode):
    node.publish(1, 0)
    assert (node.update(), node.holds("B")) == ("staged", None)
    assert node.last()["release"]["version"] == "1.1"
    assert (node.run("upgrade-install"), node.holds("B")) == (0, "1.1")


def test_older_metadata_does_not_lift_a_pause(node: UpdateNode):
    node.configure("check")
    node.publish(1)
    before = [(path, path.read_bytes()) for path in node.repository.files()]
    assert node.update() == "available"
    node.stage(1, 0)
    assert node.update() == "staged"
    for path, content in before:
        path.write_bytes(content)
    assert node.run("update") == 65
    assert (node.last()["result"], node.last()["code"]) == ("failed", "METADATA")


def test_a_clock_that_is_behind_opens_no_window(node: UpdateNode):
    node.publish(1)
    tomorrow = time.time() + 86400
    os.utime(node.repository.root_path, (tomorrow, tomorrow))
    assert (node.update(), node.reboots(), node.holds("B")) == ("clock-behind", 0, "1.1")


def test_nothing_is_done_while_a_person_or_the_node_is_busy(node: UpdateNode, monkeypatch: pytest.MonkeyPatch):
    node.publish(1)
    assert node.run("confirm", "--hold") == 0
    assert node.update() == "held"
    assert node.run("confirm", "--release") == 0
    scheduled = node.directory / "scheduled"
    scheduled.touch()
    monkeypatch.setattr(look, "SHUTDOWN", str(scheduled))
    assert node.update() == "shutdown"
    scheduled.unlink()
    # No look was needed for that, and nothing was written down.
    assert node.last()["looked"] is None
    assert not node.memory.exists()


def test_two_at_once_and_one_beside_a_verb_go_away_quietly(node: UpdateNode, capfd: pytest.CaptureFixture[str]):
    node.publish(1)
    with lock.held(str(node.node.lock), "upgrade-install"):
        assert node.update() == "busy"
    capfd.readouterr()
    with lock.held(str(node.node.lock.parent / "update.lock"), "update"):
        assert node.run("update", "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["result"], told["text"]) == ("busy", "nothing is done: another update runs")
    assert node.update() == "committed"


def test_what_somebody_installs_in_that_moment_is_theirs(node: UpdateNode, monkeypatch: pytest.MonkeyPatch):
    """As where an update waits for the lock of a person's installation, with `state.lock_timeout`."""
    node.publish(1)
    node.publish(2)
    store = memory.store

    def faster(settings: Config, kept: Memory) -> None:
        store(settings, kept)
        monkeypatch.setattr(memory, "store", store)
        assert node.run("upgrade-install", str(node.repository.directory / "1.1")) == 0

    monkeypatch.setattr(memory, "store", faster)
    assert (node.update(), node.holds("B")) == ("busy", "1.1")
    assert (node.update(), node.reboots()) == ("by-hand", 0)


def test_whoever_commits_in_that_moment_decides_on_the_reboot(node: UpdateNode, monkeypatch: pytest.MonkeyPatch):
    node.publish(1)
    store = memory.store

    def faster(settings: Config, kept: Memory) -> None:
        if kept.committed is not None:
            assert node.run("upgrade-commit", "--no-reboot") == 0
        store(settings, kept)

    monkeypatch.setattr(memory, "store", faster)
    assert node.run("update") == 69
    assert (node.last()["code"], node.reboots()) == ("NOTHING_INSTALLED", 0)
    assert node.update() == "pending"


def test_an_error_is_told_everywhere_and_the_next_run_tries_again(node: UpdateNode, monkeypatch: pytest.MonkeyPatch):
    release = node.publish(1)
    pack = node.repository.directory / "1.1" / "full.pack"
    pack.write_bytes(release.pack[:-10] + bytes(10))
    assert node.run("update") == 65
    assert node.last()["result"] == "failed"
    assert node.events() == ["install_failed", "update_failed"]
    metrics = (node.metrics / "manageboot_update.prom").read_text()
    assert f'manageboot_update_error{{code="{node.last()["code"]}"}} 1.0' in metrics
    assert re.search(r"^update +\d{4}-.*: cannot .* \[RELEASE_SHA256\]$", node.node.ok("status"), re.MULTILINE)
    pack.write_bytes(release.pack)
    # Not before the next run of the timer.
    assert (node.update(), node.last()["failures"]) == ("later", 1)
    later = node.last()["again"]
    monkeypatch.setattr("manageboot.unattended.look.time.time", lambda: later)
    assert node.update() == "committed"
    assert "manageboot_update_error" not in (node.metrics / "manageboot_update.prom").read_text()


def test_what_comes_between_does_not_bring_a_failed_installation_forward(node: UpdateNode):
    release = node.publish(1)
    pack = node.repository.directory / "1.1" / "full.pack"
    pack.write_bytes(bytes(len(release.pack)))
    assert [node.run("update"), node.run("update", "--retry")] == [65, 65]
    again = node.last()["again"]
    assert (node.last()["failures"], node.update()) == (2, "later")
    # The channel can't be read, and a person is at work.
    timestamp = node.repository.directory / "metadata" / "timestamp.json"
    content = timestamp.read_bytes()
    timestamp.unlink()
    assert node.run("update") == 66
    timestamp.write_bytes(content)
    assert [node.run("confirm", "--hold"), node.update(), node.run("confirm", "--release")] == [0, "held", 0]
    assert (node.update(), node.last()["failures"], node.last()["again"]) == ("later", 2, again)


def test_status_and_metrics_tell_what_waits_and_until_when(node: UpdateNode):
    node.publish(3)
    node.configure("commit", 'window = "2099-01-01 02:00 UTC"')
    assert node.update() == "waiting"
    status = node.node.status()
    assert status["update"]["last"]["release"]["version"] == "1.3"
    assert status["update"]["last"]["opens"] == 4070916000
    assert "waits for its window, which opens 2099-01-01 02:00 UTC" in node.node.ok("status")
    assert status["to_do"] == "wait: slot B is committed in its window; `manageboot upgrade-commit` commits it now"
    metrics = (node.metrics / "manageboot_update.prom").read_text()
    assert 'manageboot_update_result{result="waiting"} 1.0' in metrics
    assert 'manageboot_update_result{result="failed"} 0.0' in metrics
    assert "manageboot_update_window_opens_timestamp_seconds 4.070916e+09" in metrics
    assert "manageboot_update_release_waiting_index 3.0" in metrics


def test_it_needs_to_know_what_was_tried(node: UpdateNode):
    node.publish(1)
    node.memory.write_text('{"schema": 1}')
    assert node.run("update") == 65
    assert (node.last()["code"], node.holds("B")) == ("UPDATE_MEMORY", None)
    assert [problem["code"] for problem in node.node.status()["problems"]] == ["UPDATE_MEMORY"]
    assert node.update("--retry") == "committed"


def test_a_window_that_opens_again_while_it_installs_is_open(node: UpdateNode, monkeypatch: pytest.MonkeyPatch):
    """As one of each hour, which is never shut, where an installation takes longer than what is left of the hour."""
    node.publish(1)
    began = int(time.time())

    def find(*_: object) -> Opening:
        opens = began if node.holds("B") else began - 3600
        return Opening(opens, opens + 3600)

    monkeypatch.setattr(window, "find", find)
    assert (node.update(), node.last()["opens"]) == ("committed", began)


def test_a_window_that_systemd_does_not_take_is_told_before_anything_is_done(node: UpdateNode):
    node.publish(1)
    node.configure("commit", 'window = "Caturday"')
    assert node.run("update") == 78
    assert (node.last()["code"], node.holds("B")) == ("CONFIG", None)
