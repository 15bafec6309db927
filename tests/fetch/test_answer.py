"""What the child hands on of an answer: all of it, in few frames, and nothing later than it has to be."""

import pytest

from manageboot.fetch import wire
from manageboot.fetch.answer import Answer
from manageboot.fetch.pace import Limit, Pace
from manageboot.fetch.wire import Kind, Request

PIECE = 16 * 1024
"""What curl gives at a time at most."""


class Parent:
    """Takes frames until it is gone."""

    def __init__(self) -> None:
        self.limit = Limit(None)
        self.frames: list[bytes] = []
        self.gone = False

    def send(self, kind: Kind, body: bytes) -> bool:
        if kind == Kind.DATA:
            self.frames.append(body)
        return not self.gone

    def is_gone(self) -> bool:
        return self.gone


@pytest.fixture
def parent() -> Parent:
    return Parent()


def answer(parent: Parent, length: int) -> Answer:
    asked = Answer(parent, Request("http://mirror/file", 0, length, whole=False), Pace(60))
    asked.take_header(b"HTTP/1.1 206 Partial Content\r\n")
    asked.take_header(b"Content-Range: bytes 0-%d/%d\r\n" % (length - 1, length))
    return asked


@pytest.mark.parametrize("piece", [PIECE, PIECE - 1, wire.ANSWER_MAX])
def test_small_pieces_are_handed_on_together(parent: Parent, piece: int):
    content = bytes(range(256)) * (5 * wire.ANSWER_MAX // 256)
    one = answer(parent, len(content))
    for start in range(0, len(content), piece):
        assert one.take(content[start : start + piece]) is None
    assert one.flush()
    assert b"".join(parent.frames) == content
    assert max(map(len, parent.frames)) <= wire.ANSWER_MAX
    assert len(parent.frames) <= 6


def test_what_came_is_handed_on_before_the_next_is_waited_for(parent: Parent):
    one = answer(parent, 1000)
    one.take(b"x" * 10)
    assert parent.frames == []
    assert one.look(0, 0, 0, 0) == 0
    assert parent.frames == [b"x" * 10]
    assert (one.look(0, 0, 0, 0), len(parent.frames)) == (0, 1)


def test_a_parent_that_is_gone_ends_the_answer(parent: Parent):
    one = answer(parent, 1000)
    one.take(b"x" * 10)
    parent.gone = True
    assert one.look(0, 0, 0, 0) == 1
    assert answer(parent, wire.ANSWER_MAX).take(b"x" * wire.ANSWER_MAX) == 0
