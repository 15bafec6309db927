"""The health checks, with systemd's answers made up here and executables that nobody runs."""

import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from manageboot.config import HealthConfig
from manageboot.daemon.children import Outcome
from manageboot.daemon.health import Examination, Result
from manageboot.daemon.observation import Verdict
from manageboot.daemon.steps import Command, Pause

ACTIVE = "LoadState=loaded\nActiveState=active\nSubState=active"


def states(*active: str) -> str:
    """What `systemctl show` prints."""
    return "\n\n".join(f"LoadState=loaded\nActiveState={state}\nSubState={state}" for state in active)


class Answers:
    """Answers what an examination asks for, and remembers it. `answers` are those of `systemctl show`, in turn."""

    def __init__(
        self, *answers: str, boot: tuple[str, ...] = ("running",), **outcomes: Outcome | Iterator[Outcome]
    ) -> None:
        self._answers = iter(answers)
        self._boot = iter(boot)
        self._outcomes = outcomes
        self.ran: list[str] = []
        self.paused = 0

    def examine(self, config: HealthConfig) -> Examination:
        examination = Examination(config)
        steps = examination.steps()
        step: Command | Pause | None = next(steps)
        while step is not None:
            answer = None
            if isinstance(step, Pause):
                assert 1 <= step.seconds <= 10
                self.paused += 1
            else:
                answer = self._run(step)
            assert examination.verdict is Verdict.RUNNING
            try:
                step = steps.send(answer)
            except StopIteration:
                step = None
        return examination

    def _run(self, command: Command) -> Outcome:
        assert command.timeout_s > 0
        if command.argv[:2] == ("systemctl", "is-system-running"):
            return Outcome(0, next(self._boot))
        if command.argv[:2] == ("systemctl", "show"):
            return Outcome(0, next(self._answers))
        [path] = command.argv
        self.ran.append(Path(path).name)
        outcome = self._outcomes.get(Path(path).name, Outcome(0, ""))
        return outcome if isinstance(outcome, Outcome) else next(outcome)


@pytest.fixture
def config(tmp_path: Path) -> HealthConfig:
    return HealthConfig((), str(tmp_path / "health.d"), 7)


def add(config: HealthConfig, *names: str, mode: int = 0o755) -> None:
    for name in names:
        path = Path(config.directory, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)


def table(examination: Examination) -> dict[str, str]:
    return {result.name: result.result.value for result in examination.results}


def test_without_any_checks_of_ours_the_target_decides(config: HealthConfig):
    good = Answers(states("active")).examine(config)
    assert (good.verdict, table(good)) == (Verdict.GOOD, {"boot-complete.target": "passed"})
    bad = Answers(states("inactive"), states("inactive")).examine(config)
    assert (bad.verdict, table(bad)) == (Verdict.BAD, {"boot-complete.target": "failed"})


def test_nothing_is_asked_before_the_boot_is_over(config: HealthConfig):
    answers = Answers(states("active"), boot=("initializing", "starting", "", "degraded"))
    assert answers.examine(config).verdict is Verdict.GOOD
    assert answers.paused == 3


def test_the_emergency_shell_is_the_end_of_a_boot(config: HealthConfig):
    answers = Answers(states("inactive"), states("inactive"), boot=("starting", "maintenance"))
    assert answers.examine(config).verdict is Verdict.BAD


def test_a_required_unit_has_to_be_active(config: HealthConfig):
    config = config._replace(required_units=("a.service", "b.service"))
    bad = Answers(states("active", "active", "failed"), states("active", "active", "failed")).examine(config)
    assert bad.verdict is Verdict.BAD
    assert table(bad) == {"boot-complete.target": "passed", "a.service": "passed", "b.service": "failed"}
    assert bad.results[-1].text == "failed (failed)"


@pytest.mark.parametrize(
    "name",
    ["", "web*.service", "a?", "a[b", "getty@.service", "getty@", "@a.service", "17", "a\0b", "x" * 256, "/ü" * 64],
)
def test_what_systemctl_gives_no_single_answer_for_is_no_unit(config: HealthConfig, name: str):
    """It would be asked for ever."""
    bad = Answers().examine(config._replace(required_units=("a.service", name)))
    assert (bad.verdict, table(bad)) == (Verdict.BAD, {name: "failed"})


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "getty@tty1.service",
        "a@b@c.service",
        r"dev-disk-by\x2dlabel-a.device",
        "a_b:c-1.mount",
        "-.mount",
        # What systemctl makes the name of a unit by itself.
        "/var",
        "/dev/vda",
        "a+b",
        "a b.service",
        "ü.service",
        "17a",
    ],
)
def test_names_of_units_are_taken(config: HealthConfig, name: str):
    good = Answers(states("active", "active")).examine(config._replace(required_units=(name,)))
    assert (good.verdict, table(good)[name]) == (Verdict.GOOD, "passed")


def test_a_unit_that_does_not_exist_is_not_active(config: HealthConfig):
    config = config._replace(required_units=("a.service",))
    answer = f"{ACTIVE}\n\nLoadState=not-found\nActiveState=inactive\nSubState=dead"
    bad = Answers(answer, answer).examine(config)
    assert (bad.verdict, bad.results[-1].text) == (Verdict.BAD, "inactive (not-found)")


def test_a_unit_that_starts_is_waited_for(config: HealthConfig):
    config = config._replace(required_units=("a.service",))
    answers = Answers(*[states("active", "activating")] * 5, states("active", "active"))
    assert answers.examine(config).verdict is Verdict.GOOD
    assert answers.paused == 5


def test_a_unit_that_is_restarted_just_now_is_not_failed(config: HealthConfig):
    config = config._replace(required_units=("a.service",))
    answers = Answers(states("active", "inactive"), states("active", "activating"), states("active", "active"))
    assert answers.examine(config).verdict is Verdict.GOOD


@pytest.mark.parametrize("answer", ["", "Failed to connect to bus", "ActiveState=active", states("active", "active")])
def test_an_answer_that_makes_no_sense_is_neither_good_nor_bad(config: HealthConfig, answer: str):
    answers = Answers(answer, answer, answer, states("active"))
    assert answers.examine(config).verdict is Verdict.GOOD
    assert answers.paused == 3
    bad = Answers(answer, states("inactive"), answer, states("inactive"))
    assert bad.examine(config).verdict is Verdict.BAD


def test_it_says_that_systemctl_does_not_answer(config: HealthConfig):
    examination = Examination(config)
    steps = examination.steps()
    next(steps)
    steps.send(Outcome(0, "running"))
    assert isinstance(steps.send(Outcome(None, "")), Pause)
    assert examination.doing.startswith("asking systemctl again")
    assert next(steps) and not examination.results
    steps.send(Outcome(0, states("activating")))
    assert examination.doing == "waiting for boot-complete.target"


def test_executables_run_in_the_order_of_their_names_and_the_required_ones_first(config: HealthConfig):
    add(config, "wanted/00-first", "required/20-b", "required/10-a", "required/9-z", "required/.hidden")
    answers = Answers(states("active"))
    examination = answers.examine(config)
    assert (examination.verdict, answers.ran) == (Verdict.GOOD, ["10-a", "20-b", "9-z", "00-first"])
    assert list(table(examination))[1:] == ["required/10-a", "required/20-b", "required/9-z", "wanted/00-first"]


def test_the_first_required_failure_ends_it(config: HealthConfig):
    add(config, "required/10-a", "required/20-b", "wanted/30-c")
    answers = Answers(states("active"), **{"10-a": Outcome(3, "no disk\nno hope")})
    examination = answers.examine(config)
    assert (examination.verdict, answers.ran) == (Verdict.BAD, ["10-a"])
    assert examination.results[-1].text == "exit status 3\nno disk\nno hope"


def test_a_check_that_hangs_has_failed(config: HealthConfig):
    add(config, "required/10-a")
    examination = Answers(states("active"), **{"10-a": Outcome(None, "so far so good")}).examine(config)
    assert (examination.verdict, table(examination)["required/10-a"]) == (Verdict.BAD, "hung")
    assert examination.results[-1].text == "no end after 7 s\nso far so good"


@pytest.mark.parametrize("outcome", [Outcome(1, ""), Outcome(None, ""), Outcome(-9, ""), Outcome(127, "")])
def test_a_wanted_check_only_warns(config: HealthConfig, outcome: Outcome):
    add(config, "wanted/10-a", "wanted/20-b")
    answers = Answers(states("active"), **{"10-a": outcome})
    examination = answers.examine(config)
    assert (examination.verdict, answers.ran) == (Verdict.GOOD, ["10-a", "20-b"])
    assert examination.results[1].result in {Result.FAILED, Result.HUNG}
    assert examination.results[1].good


def test_what_is_not_executable_is_shown_and_not_run(config: HealthConfig):
    add(config, "required/README", mode=0o644)
    answers = Answers(states("active"))
    examination = answers.examine(config)
    assert (examination.verdict, answers.ran, table(examination)["required/README"]) == (Verdict.GOOD, [], "skipped")


@pytest.mark.parametrize(("kind", "verdict"), [("required", Verdict.BAD), ("wanted", Verdict.GOOD)])
def test_a_link_to_nowhere_has_failed(config: HealthConfig, kind: str, verdict: Verdict):
    add(config, f"{kind}/10-a")
    Path(config.directory, kind, "20-b").symlink_to("/nowhere")
    examination = Answers(states("active")).examine(config)
    assert (examination.verdict, table(examination)[f"{kind}/20-b"]) == (verdict, "failed")
    assert examination.results[-1].text == "cannot look at it: No such file or directory"


@pytest.mark.parametrize(("kind", "verdict"), [("required", Verdict.BAD), ("wanted", Verdict.GOOD)])
@pytest.mark.parametrize("obstacle", ["file", "link", "link above", "loop"])
def test_a_directory_that_cannot_be_read_is_a_check_that_failed(
    config: HealthConfig, kind: str, verdict: Verdict, obstacle: str
):
    directory = Path(config.directory)
    if obstacle == "link above":
        directory.symlink_to("/nowhere")
    else:
        directory.mkdir()
        {
            "file": lambda path: path.write_text(""),
            "link": lambda path: path.symlink_to("/nowhere"),
            "loop": lambda path: path.symlink_to(path.name),
        }[obstacle](directory / kind)
    examination = Answers(states("active")).examine(config)
    assert table(examination)[kind] == "failed"
    assert examination.verdict is (Verdict.BAD if obstacle == "link above" else verdict)
    assert examination.results[-1].text.startswith("cannot read ")


def test_a_directory_of_another_user_is_a_check_that_failed(config: HealthConfig, monkeypatch: pytest.MonkeyPatch):
    add(config, "required/10-a")

    def listdir(_path: str) -> list[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "listdir", listdir)
    answers = Answers(states("active"))
    examination = answers.examine(config)
    assert (examination.verdict, answers.ran, table(examination)["required"]) == (Verdict.BAD, [], "failed")
    assert examination.cause == f"required failed: cannot read {config.directory}/required: Permission denied"


def test_directories_are_no_checks(config: HealthConfig):
    add(config, "required/sub/10-a")
    answers = Answers(states("active"))
    assert (answers.examine(config).verdict, answers.ran) == (Verdict.GOOD, [])


def test_only_the_end_of_a_long_output_is_kept(config: HealthConfig):
    add(config, "wanted/10-a")
    examination = Answers(states("active"), **{"10-a": Outcome(0, "x" * 60_000 + "end")}).examine(config)
    text = examination.results[-1].text
    assert text.endswith("xend")
    assert len(text) < 3000


def test_it_says_what_it_does(config: HealthConfig):
    add(config, "required/10-a")
    examination = Examination(config)
    steps = examination.steps()
    assert next(steps) and "boot" in examination.doing
    steps.send(Outcome(0, "running"))
    assert "boot-complete.target" in examination.doing
    steps.send(Outcome(0, states("active")))
    assert examination.doing == "running required/10-a"


LACKING = Outcome(126, said="cannot start it: Resource temporarily unavailable", lacking=True)


def test_a_check_that_can_not_start_for_want_of_something_is_tried_again(config: HealthConfig):
    add(config, "required/10-net")
    answers = iter([LACKING, LACKING, Outcome(0, "up")])
    answers = Answers(states("active"), **{"10-net": answers})
    examination = answers.examine(config)
    assert (examination.verdict, answers.ran, answers.paused) == (Verdict.GOOD, ["10-net"] * 3, 2)
    # What it answers then counts.
    answers = Answers(states("active"), **{"10-net": iter([LACKING, Outcome(1, "down")])})
    assert answers.examine(config).verdict is Verdict.BAD


def test_but_no_longer_than_it_might_run(config: HealthConfig):
    add(config, "required/10-net")
    answers = Answers(states("active"), **{"10-net": itertools.repeat(LACKING)})
    examination = answers.examine(config)
    assert (examination.verdict, len(answers.ran)) == (Verdict.BAD, 1 + config.timeout_s // 3)
    assert "Resource temporarily unavailable" in examination.cause


def test_a_check_that_can_not_start_by_itself_has_failed_at_once(config: HealthConfig):
    add(config, "required/10-net")
    answers = Answers(states("active"), **{"10-net": Outcome(126, said="it is not executable")})
    assert (answers.examine(config).verdict, answers.ran) == (Verdict.BAD, ["10-net"])
