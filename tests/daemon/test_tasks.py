"""What became of the jobs, as the next decision needs it."""

import pytest

from manageboot.daemon.tasks import BUSY_S, LOCKING, TELLING, JobResult, Jobs, Task

FAILURES = (JobResult.FAILED, JobResult.HUNG)
DOING = sorted(set(Task) - TELLING - {Task.ARRIVE}, key=lambda task: task.name)


def after(*events: tuple[Task, JobResult, float], in_trial: bool = True) -> Jobs:
    jobs = Jobs()
    for task, result, now_s in events:
        jobs = jobs.after(task, result, now_s, in_trial=in_trial)
    return jobs


@pytest.mark.parametrize("result", JobResult)
@pytest.mark.parametrize("task", DOING)
def test_a_task_that_failed_is_told_from_one_that_succeeded(task: Task, result: JobResult):
    jobs = after((Task.CONFIRM, JobResult.FAILED, 10.0), (task, result, 20.0))
    assert jobs.failed_s == (None if result in {JobResult.DONE, JobResult.CONFIRMED} else 20.0)


@pytest.mark.parametrize("result", FAILURES)
def test_an_arrival_that_failed_is_not_tried_again(result: JobResult):
    assert after((Task.ARRIVE, result, 10.0)).failed_s is None
    assert after((Task.ARRIVE, JobResult.LOCKED, 10.0)).failed_s == 10.0


@pytest.mark.parametrize("result", JobResult)
@pytest.mark.parametrize("task", sorted(TELLING, key=lambda task: task.name))
def test_what_is_only_told_says_nothing_of_what_is_done(task: Task, result: JobResult):
    jobs = after((Task.CONFIRM, JobResult.FAILED, 10.0), (task, result, 20.0))
    assert (jobs.failed_s, jobs.put_off_s) == (10.0, 20.0 if result is JobResult.LOCKED else None)
    assert after((task, JobResult.LOCKED, 20.0), (task, JobResult.DONE, 30.0)).put_off_s is None


@pytest.mark.parametrize("task", Task)
def test_one_that_hung_is_never_forgotten(task: Task):
    assert after((task, JobResult.HUNG, 10.0), (Task.CONFIRM, JobResult.DONE, 20.0)).hung
    assert not after((task, JobResult.FAILED, 10.0)).hung


@pytest.mark.parametrize("task", Task)
def test_who_was_kept_from_the_lock_is_known_until_the_next(task: Task):
    locked = after((task, JobResult.LOCKED, 10.0))
    assert locked.locked_out is task
    assert locked.after(Task.REBOOT, JobResult.DONE, 20.0, in_trial=True).locked_out is None


@pytest.mark.parametrize("task", sorted(LOCKING, key=lambda task: task.name))
def test_a_lock_hangs_when_it_was_held_for_long_in_a_trial(task: Task):
    first, late = (task, JobResult.LOCKED, 10.0), (task, JobResult.LOCKED, 10.0 + BUSY_S)
    assert not after(first, (task, JobResult.LOCKED, 9.9 + BUSY_S)).lock_hangs
    assert not after(late).lock_hangs
    assert after(first, late).lock_hangs
    # There may be an installation that takes longer.
    assert not after(first, late, in_trial=False).lock_hangs
    # What needs no lock says nothing of it.
    told = (Task.TELL_BOOT, JobResult.DONE, 11.0 + BUSY_S)
    assert after(first, told, late).lock_hangs
    assert after(first, late, told).lock_hangs


@pytest.mark.parametrize("result", [JobResult.DONE, *FAILURES])
def test_whoever_got_it_found_it_free(result: JobResult):
    locked = [(Task.ARRIVE, JobResult.LOCKED, now_s) for now_s in (10.0, 10.0 + BUSY_S)]
    free = (Task.ARRIVE, result, 20.0 + BUSY_S)
    assert not after(*locked, free).lock_hangs
    assert not after(locked[0], free, (Task.ARRIVE, JobResult.LOCKED, 30.0 + BUSY_S)).lock_hangs
