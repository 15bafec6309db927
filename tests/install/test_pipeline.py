"""The pipeline: what its stages see, and that it always ends."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from manageboot.install.pipeline import Buffers, Parallel, Pipeline

SIZE = 4096


class BoomError(Exception):
    pass


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("manageboot-")}


def run(stages: dict[str, Any], *, buffers: Buffers | None = None, report=lambda: None, cancel=lambda: None) -> None:
    try:
        Pipeline(buffers or Buffers(2, SIZE), cancel).run(stages, report)
    finally:
        assert threads() == set()


def counting(count: int):
    return lambda _: iter(range(count))


def test_every_stage_sees_everything_in_order():
    seen: list[int] = []

    def collect(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            seen.append(item)
            yield item

    run({"a": counting(1000), "b": lambda items: (item * 2 for item in items if item % 2), "c": collect})
    assert seen == [number * 2 for number in range(1000) if number % 2]


def test_no_more_is_read_ahead_than_there_are_buffers():
    buffers = Buffers(3, SIZE)
    out: set[int] = set()
    most = 0

    def read(_: Iterator[Any]) -> Iterator[memoryview]:
        nonlocal most
        for number in range(100):
            buffer = buffers.take()
            buffer[0] = number
            out.add(number)
            most = max(most, len(out))
            yield buffer

    def write(items: Iterator[memoryview]) -> Iterator[None]:
        for buffer in items:
            out.remove(buffer[0])
            buffers.give_back(buffer)
            yield None

    run({"read": read, "write": write}, buffers=buffers)
    assert out == set()
    assert 1 <= most <= 3


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_failure_anywhere_ends_all_stages_and_is_raised(failing: int):
    buffers = Buffers(2, SIZE)

    def read(_: Iterator[Any]) -> Iterator[int]:
        for number in range(10**9):
            if failing == 0 and number == 50:
                raise BoomError
            buffers.give_back(buffers.take())
            yield number

    def stage(position: int):
        def work(items: Iterator[int]) -> Iterator[int]:
            for item in items:
                if failing == position and item == 50:
                    raise BoomError
                yield item

        return work

    with pytest.raises(BoomError):
        run({"read": read, "first": stage(1), "second": stage(2)}, buffers=buffers)


def test_a_failure_ends_a_stage_in_the_middle_of_what_it_was_given():
    begun = threading.Event()

    def fail_then(_: Iterator[Any]) -> Iterator[int]:
        yield 1
        begun.wait()
        raise BoomError

    def go_on(items: Iterator[int]) -> Iterator[int]:
        for _ in items:
            while True:
                begun.set()
                yield 0

    with pytest.raises(BoomError):
        run({"fail": fail_then, "go on": go_on})


def test_a_failure_ends_a_stage_that_waits_for_a_buffer():
    buffers = Buffers(1, SIZE)

    def hoard(_: Iterator[Any]) -> Iterator[memoryview]:
        while True:
            yield buffers.take()

    def fail(items: Iterator[memoryview]) -> Iterator[None]:
        next(items)
        raise BoomError
        yield

    with pytest.raises(BoomError):
        run({"hoard": hoard, "fail": fail}, buffers=buffers)


def test_an_interruption_ends_a_stage_that_waits_for_its_input():
    cancelled = threading.Event()

    def wait(_: Iterator[Any]) -> Iterator[int]:
        cancelled.wait()
        raise OSError("the input was closed")
        yield 1

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run({"wait": wait, "rest": iter}, report=interrupt, cancel=cancelled.set)
    assert cancelled.is_set()


def test_a_second_signal_does_not_leave_threads_behind():
    """One that comes while the first one is being obeyed."""
    slow = threading.Event()
    cancels = 0

    def work(_: Iterator[Any]) -> Iterator[int]:
        slow.wait()
        yield 1

    def interrupt() -> None:
        raise KeyboardInterrupt

    def cancel() -> None:
        nonlocal cancels
        cancels += 1
        if cancels == 1:
            raise SystemExit(143)
        slow.set()

    with pytest.raises(SystemExit):
        run({"work": work, "rest": iter}, report=interrupt, cancel=cancel)
    assert cancels >= 2


def test_a_signal_that_comes_after_a_failure_does_not_leave_threads_behind(monkeypatch: pytest.MonkeyPatch):
    """At the instant in which the caller asks whether they have ended."""
    is_alive = threading.Thread.is_alive
    asked = threading.Event()

    def signalled(thread: threading.Thread) -> bool:
        if not asked.is_set():
            asked.set()
            raise KeyboardInterrupt
        return is_alive(thread)

    def fail(_: Iterator[Any]) -> Iterator[int]:
        monkeypatch.setattr(threading.Thread, "is_alive", signalled)
        raise BoomError
        yield 1

    def write(items: Iterator[int]) -> Iterator[int]:
        asked.wait()
        time.sleep(0.2)
        yield from items

    with pytest.raises(KeyboardInterrupt):
        run({"fail": fail, "write": write})


@pytest.mark.parametrize("count", [1, 2, 5])
def test_threads_that_share_a_stage_keep_the_order_and_hold_no_more_items_than_they_are(count: int):
    lock = threading.Lock()
    prepared: list[int] = []
    out: list[int] = []
    held = most = 0

    def prepare(item: int):
        nonlocal held, most
        prepared.append(item)
        with lock:
            held += 1
            most = max(most, held)

        def make() -> int:
            nonlocal held
            if item % 7 == 0:
                time.sleep(0.001)  # the others overtake it
            with lock:
                held -= 1
            return item * 2

        return make

    def collect(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            out.append(item)
            yield item

    run({"read": counting(200), "share": Parallel(prepare, count), "write": collect})
    assert prepared == list(range(200))
    assert out == [item * 2 for item in range(200)]
    assert 1 <= most <= count


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("step", ["prepare", "make"])
def test_what_comes_before_a_failure_of_a_shared_stage_is_handed_on_and_nothing_after(count: int, step: str):
    out: list[int] = []

    def prepare(item: int):
        if step == "prepare" and item >= 50:
            raise BoomError(item)

        def make() -> int:
            if item >= 50:
                raise BoomError(item)
            if item == 49:
                time.sleep(0.01)  # so that a later one fails first
            return item

        return make

    def collect(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            out.append(item)
            yield item

    with pytest.raises(BoomError, match=r"^50$"):
        run({"read": counting(10**6), "share": Parallel(prepare, count), "write": collect})
    assert out == list(range(50))


def test_an_interruption_ends_threads_that_share_a_stage():
    stopped = threading.Event()

    def prepare(item: int):
        stopped.wait()
        raise OSError(f"the input of {item} was closed")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run({"read": counting(5), "share": Parallel(prepare, 3), "rest": iter}, report=interrupt, cancel=stopped.set)
