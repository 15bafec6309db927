r"""Rearranging a block whose lines reach into the second sector, one sector write at a time.

Each image differs from the one before in one sector only, so a power cut leaves one of them. The means:

- *absorb*: a line of `#` in the first sector grows or shrinks, so that the sectors behind it stay as they are;
- *move out*: a line that nobody needs in front is first copied to the end, then replaced by `#`. In between it is
  there twice with one value, which only matters to a `save_env` of that very name;
- *swallow*: a comment at the end of the first sector that has no newline there goes on in the second. So one write
  of the first sector puts a line in front and hides its old place at the same instant. A backslash at its end hides
  a newline as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from grubenv.block import EnvBlock, Line, make_line
from grubenv.layout import PADDING_BYTE
from grubenv.view import SECTOR_SIZE, SIGNATURE
from grubenv.writing.order import in_safe_order


class NoWayError(Exception):
    """There is no safe way from here."""


class _Split(NamedTuple):
    """A block at the boundary between the first and the second sector."""

    head: tuple[Line, ...]
    """The lines that end in the first sector."""
    crossing: Line | None
    """The line that lies across the boundary."""
    inside: int
    """How many bytes of it lie in the first sector."""
    rest: tuple[Line, ...]


def stage(old: bytes, new: EnvBlock, front: Iterable[str], is_safe: Callable[[bytes], bool]) -> list[bytes]:
    """Return the images that lead from the bytes `old` to the variables of `new`.

    Args:
        front: names that have to lie within the first sector in the end.
        is_safe: tells whether a power cut may leave these bytes.

    Raises:
        NoWayError: none of the means helps, there is no room for them, or lines reach beyond the second sector.
    """
    before = EnvBlock.parse(old)
    if before.used > 2 * SECTOR_SIZE or len(old) <= SECTOR_SIZE:
        message = "lines reach beyond the second sector"
        raise NoWayError(message)
    changed = {name for name in before.keys() | new.keys() if before.get(name) != new.get(name)}
    kept = frozenset(front) | changed
    if kept & set(before.duplicates):
        message = "a name that is needed has two lines"
        raise NoWayError(message)
    images = [old]
    for name in front:
        if name in before and name not in {line.name for line in _split(images[-1]).head}:
            _fetch(images, name, kept, is_safe)
    while (final := _absorb(images[-1], new)) is None:
        _move_out(images, kept, is_safe)
    images.append(final)
    return images[1:]


def _split(image: bytes) -> _Split:
    end = len(SIGNATURE)
    head: list[Line] = []
    lines = EnvBlock.parse(image).lines
    for index, line in enumerate(lines):
        if end + len(line.raw) > SECTOR_SIZE:
            crossing = line if end < SECTOR_SIZE else None
            return _Split(tuple(head), crossing, SECTOR_SIZE - end, lines[index + (crossing is not None) :])
        head.append(line)
        end += len(line.raw)
    return _Split(tuple(head), None, 0, ())


def _absorb(image: bytes, new: EnvBlock) -> bytes | None:
    """Return the image with the variables of `new`, changed in the first sector only, or None if it takes room."""
    split = _split(image)
    before = EnvBlock.parse(image)
    # By what GRUB reads, not by the line: an earlier line of a foreign name may have another value, and stays.
    changed = {name for name in before.keys() | new.keys() if before.get(name) != new.get(name)}
    behind = [line for line in (split.crossing, *split.rest) if line is not None and line.name is not None]
    if any(line.name in changed for line in behind):
        message = "a line beyond the first sector would change"
        raise NoWayError(message)
    lines = [
        line.raw if line.name is None or line.name not in changed else make_line(line.name, new[line.name]).raw
        for line in split.head
        if not line.is_filler and (line.name is None or line.name in new)
    ]
    there = {line.name for line in (*split.head, *behind)}
    lines += [make_line(name, value).raw for name, value in new.items() if name not in there]
    room = sum(len(line.raw) for line in split.head) - sum(map(len, lines))
    if room < 0 or room == 1:  # the shortest comment has two bytes
        return None
    filler = PADDING_BYTE * (room - 1) + b"\n" if room else b""
    body = SIGNATURE + b"".join(lines) + filler
    return body + image[len(body) :]


def _move_out(images: list[bytes], kept: frozenset[str], is_safe: Callable[[bytes], bool]) -> None:
    """Move one line that nobody needs from the first sector to the end, comments before variables.

    Raises:
        NoWayError: there is none, or no room for it.
    """
    lines = [line for line in _split(images[-1]).head if not line.is_filler and line.name not in kept]
    for line in sorted(lines, key=lambda line: line.name is not None):
        try:
            _append(images, line, is_safe)
        except NoWayError:
            continue
        filler = PADDING_BYTE * (len(line.raw) - 1) + b"\n"
        images.append(images[-1].replace(b"\n" + line.raw, b"\n" + filler, 1))
        return
    message = "no line can be moved out of the first sector"
    raise NoWayError(message)


def _append(images: list[bytes], line: Line, is_safe: Callable[[bytes], bool]) -> None:
    image = images[-1]
    used = EnvBlock.parse(image).used
    target = image[:used] + line.raw + image[used + len(line.raw) :]
    fits = len(target) == len(image) and used + len(line.raw) <= 2 * SECTOR_SIZE
    steps = in_safe_order(image, target, is_safe) if fits else None
    if steps is None:
        message = "no room at the end"
        raise NoWayError(message)
    images += [step.image for step in steps]


def _fetch(images: list[bytes], name: str, kept: frozenset[str], is_safe: Callable[[bytes], bool]) -> None:
    """Move the line of `name` from behind the boundary into the first sector, without it ever being there twice.

    Raises:
        NoWayError: there is no room.
    """
    line = next(line for line in EnvBlock.parse(images[-1]).lines if line.name == name)
    while _free(images[-1]) < len(line.raw) + len(b"#\\"):
        _move_out(images, kept, is_safe)
    split = _split(images[-1])
    if split.crossing is not None and split.crossing.name == name:
        images.append(_first(line, split, b"") + images[-1][SECTOR_SIZE:])
        _clean(images, len(line.raw) - split.inside)
        return
    hide = b""
    if split.crossing is not None:
        if split.crossing.name in kept:
            message = f"{split.crossing.name} lies across the boundary"
            raise NoWayError(message)
        if not split.crossing.is_filler:
            _append(images, split.crossing, is_safe)
            tail = PADDING_BYTE * split.inside
            images.append(images[-1][: SECTOR_SIZE - split.inside] + tail + images[-1][SECTOR_SIZE:])
            split = split._replace(rest=(*split.rest, split.crossing))
        hide = b"\\"
    newline = b"\n" if hide else b""
    others = [other for other in split.rest if other.name != name]
    second = newline + line.raw + b"".join(other.raw for other in others)
    images.append(_with_second(images[-1], second))
    images.append(_first(line, split, hide) + images[-1][SECTOR_SIZE:])
    _clean(images, len(newline + line.raw))


def _free(image: bytes) -> int:
    """Return how many bytes of the first sector hold nothing that has to stay in it."""
    split = _split(image)
    return SECTOR_SIZE - len(SIGNATURE) - sum(len(line.raw) for line in split.head if not line.is_filler)


def _first(line: Line, split: _Split, hide: bytes) -> bytes:
    """Return a first sector with `line` in front and an unfinished comment at its end."""
    body = SIGNATURE + line.raw + b"".join(other.raw for other in split.head if not other.is_filler)
    return body.ljust(SECTOR_SIZE - len(hide), PADDING_BYTE) + hide


def _with_second(image: bytes, second: bytes) -> bytes:
    return image[:SECTOR_SIZE] + second + PADDING_BYTE * (len(image) - SECTOR_SIZE - len(second))


def _clean(images: list[bytes], length: int) -> None:
    """Make the swallowed bytes, a newline the last of them, a part of the comment, then end it at the boundary."""
    image = images[-1]
    blank = PADDING_BYTE * (length - 1) + b"\n"
    images.append(image[:SECTOR_SIZE] + blank + image[SECTOR_SIZE + length :])
    closed = images[-1][: SECTOR_SIZE - 1] + b"\n" + images[-1][SECTOR_SIZE:]
    if length > 1 and closed[SECTOR_SIZE - 2 : SECTOR_SIZE - 1] == PADDING_BYTE:
        images.append(closed)
