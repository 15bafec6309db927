"""Generators at work side by side: each stage runs in a thread of its own and hands on what it yields.

A stage takes an iterator and gives one, so a row of stages does the same with and without threads. Python's lock stands
in nobody's way here: decompressing, hashing, and reading and writing devices all release it.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

from manageboot.disk.buffer import aligned_buffer

Stage = Callable[[Iterator[Any]], Iterator[Any]]


class Parallel(NamedTuple):
    """A stage that several threads share; what it hands on keeps its order, and so do its failures."""

    prepare: Callable[[Any], Callable[[], Any]]
    """Is given an item, one after the other, and returns what makes of it the item that is handed on; that is called
    while others are prepared. At most as many items are between the two as there are threads."""
    threads: int


_TICK_S = 0.1
"""How often the caller's thread looks up, to report and to see signals."""


class _End:
    """Comes after the last item."""


_END: Final = _End()


class _Failed(NamedTuple):
    """Comes instead of an item that could not be made."""

    error: BaseException


class _Stopped(BaseException):
    """Unwinds a stage, because another one has failed or the caller was interrupted; it is no error itself."""


class Buffers:
    """A fixed number of aligned buffers that are used again and again.

    They are what bounds the queues: a stage that reads ahead waits here for a buffer that a later one gives back.
    """

    def __init__(self, count: int, size: int) -> None:
        """Make buffers of so many bytes each."""
        self._free: SimpleQueue[memoryview | _End] = SimpleQueue()
        for _ in range(count):
            self._free.put(memoryview(aligned_buffer(size)))

    def take(self) -> memoryview:
        """Wait for a free buffer; what it holds is left over from its last use."""
        buffer = self._free.get()
        if isinstance(buffer, _End):
            self.close()
            raise _Stopped
        return buffer

    def give_back(self, buffer: memoryview) -> None:
        """Let somebody else have a buffer."""
        self._free.put(buffer)

    def close(self) -> None:
        """Let nobody wait here any more."""
        self._free.put(_END)


class Pipeline:
    """Stages in threads. The first failure stops all of them, and so does an exception in the caller's thread."""

    def __init__(self, buffers: Buffers, cancel: Callable[[], None]) -> None:
        """Prepare a pipeline.

        Args:
            buffers: what the stages take their buffers from.
            cancel: makes the first stage fail where it waits for its input; called from any thread, once or twice.
        """
        self._buffers = buffers
        self._cancel = cancel
        self._queues: list[SimpleQueue[Any]] = []
        self._finished = threading.Event()
        self._stopped = False
        self._failure: BaseException | None = None
        self._lock = threading.Lock()

    def run(self, stages: dict[str, Stage | Parallel], report: Callable[[], None]) -> None:
        """Run stages until the last one has ended.

        Args:
            stages: by name, in order; the first is given nothing to iterate over, what the last yields is dropped.
            report: is called ten times a second.

        Raises:
            BaseException: what the first stage to fail raised, or what a signal or `report` did here. No stage runs
                any more by then.
        """
        self._queues = [SimpleQueue() for _ in range(len(stages) + 1)]
        self._queues[0].put(_END)
        threads = [
            threading.Thread(target=target, name=f"manageboot-{name}", daemon=True)
            for position, (name, stage) in enumerate(stages.items())
            for target in self._targets(position, stage)
        ]
        interrupted = True
        try:
            for thread in threads:
                thread.start()
            while not self._finished.wait(_TICK_S):
                report()
            interrupted = False
        finally:
            self._end(threads, interrupted)
        if self._failure is not None:
            raise self._failure

    def _end(self, threads: Sequence[threading.Thread], interrupted: bool) -> None:
        """Wait for all threads, whatever signals come: none may use a descriptor that the caller is about to close."""
        signal: BaseException | None = None
        ended = False
        while not ended:
            try:
                if interrupted:
                    self._stop()
                for thread in threads:
                    if thread.is_alive():
                        thread.join(_TICK_S)
                ended = not any(thread.is_alive() for thread in threads)
            except BaseException as error:  # noqa: BLE001  it is raised when the threads have ended
                signal = error
                interrupted = True
        if signal is not None:
            raise signal

    def _targets(self, position: int, stage: Stage | Parallel) -> list[Callable[[], None]]:
        """Return what the threads of a stage do."""
        if not isinstance(stage, Parallel):
            return [lambda: self._work(position, stage)]
        turn = threading.Lock()
        return [lambda: self._share(position, stage, turn)] * stage.threads

    def _share(self, position: int, stage: Parallel, turn: threading.Lock) -> None:
        """Take items in turns; a queue of its own for each keeps its place in the order."""
        inbox, outbox = self._queues[position : position + 2]
        while True:
            place: SimpleQueue[Any] = SimpleQueue()
            with turn:
                item = inbox.get()
                if self._stopped or isinstance(item, _End):
                    inbox.put(_END)  # for the other threads
                    outbox.put(_END)
                    return
                outbox.put(place)
                try:
                    make = stage.prepare(item)
                except BaseException as error:  # noqa: BLE001  it is raised again where it comes out
                    place.put(_Failed(error))
                    inbox.put(_END)
                    return
            try:
                place.put(make())
            except BaseException as error:  # noqa: BLE001  it is raised again where it comes out
                place.put(_Failed(error))
                return

    def _work(self, position: int, stage: Stage) -> None:
        last = position + 2 == len(self._queues)
        outbox = self._queues[position + 1]
        try:
            for item in stage(self._items(self._queues[position])):
                if self._stopped:
                    return
                if not last:
                    outbox.put(item)
        except _Stopped:
            return
        except BaseException as error:  # noqa: BLE001  it is raised again in the caller's thread
            self._fail(error)
            return
        outbox.put(_END)
        if last:
            self._finished.set()

    def _items(self, inbox: SimpleQueue[Any]) -> Iterator[Any]:
        while not isinstance(item := inbox.get(), _End):
            if isinstance(item, SimpleQueue):
                item = item.get()
            if self._stopped:
                raise _Stopped
            if isinstance(item, _Failed):
                raise item.error
            yield item
        if self._stopped:
            raise _Stopped

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._stopped:
                return  # it failed because others stopped
            self._failure = error
        self._stop()

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
        for queue in self._queues:
            queue.put(_END)
        self._buffers.close()
        self._cancel()
        self._finished.set()
