"""An environment block as a value: bytes in, bytes out, nothing lost in between. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from grubenv import view
from grubenv.errors import BadNameError, BadValueError, Damage, DamagedError, NoRoomError
from grubenv.layout import BLOCK, PADDING_BYTE, Piece, join, split
from grubenv.view import DEFAULT_SIZE, MIN_SIZE, SIGNATURE, raw, text


class Line(NamedTuple):
    """One line: its bytes with the newline, and the variable it holds (`name` is None for a comment)."""

    raw: bytes
    name: str | None = None
    value: str = ""

    @property
    def is_filler(self) -> bool:
        """Whether the line is a comment of `#` and nothing else, which can go when room is short."""
        return self.name is None and not self.raw[:-1].strip(PADDING_BYTE)


class EnvBlock(Mapping[str, str]):
    r"""Hold one environment block; as a mapping it is what GRUB's `load_env` makes of it.

    It never changes: `update` returns another block. Comments, unknown names, the order of lines and unusual
    escapes stay as they were read, byte for byte.

    >>> block = EnvBlock.create().update({"boot_alternative": "B", "note": "two\nlines"})
    >>> block["boot_alternative"], len(block.build())
    ('B', 1024)
    >>> EnvBlock.parse(block.build()) == block
    True
    >>> dict(block.update({"boot_alternative": "A"}, unset=["note"]))
    {'boot_alternative': 'A'}
    """

    __slots__ = ("_lines", "_size", "_variables")

    def __init__(self, size: int, lines: Iterable[Line]) -> None:
        """Make a block of `size` bytes from lines that `parse` or `update` made.

        Raises:
            NoRoomError: the lines do not fit.
        """
        self._size = size
        self._lines = tuple(lines)
        self._variables = {line.name: line.value for line in self._lines if line.name is not None}
        if self.used > size or size < MIN_SIZE:
            raise NoRoomError(max(self.used, MIN_SIZE), size)

    @classmethod
    def create(cls, size: int = DEFAULT_SIZE) -> EnvBlock:
        """Return a block without variables or comments.

        Args:
            size: bytes, at least 26. GRUB reads any size, its tools and some updaters only 1024.

        Raises:
            NoRoomError: `size` is too small for GRUB to accept the block.
        """
        return cls(size, ())

    @classmethod
    def parse(cls, data: bytes) -> EnvBlock:
        """Read a whole block strictly: every byte of it must have a place.

        Raises:
            DamagedError: with every damage and its offset, if GRUB refuses the block or would read it as
                something else than its lines say, or could not change it.
        """
        refusal = view.refused(data)
        if refusal is not None:
            raise DamagedError([refusal])
        parsed = BLOCK.parse(data)
        lines = []
        damages = []
        for piece in parsed.lines:
            line = _read_line(piece.raw, piece.offset)
            if isinstance(line, Damage):
                damages.append(line)
            else:
                lines.append(line)
        damages += _judge_padding(parsed.padding, parsed.padding_offset)
        if damages:
            raise DamagedError(damages)
        return cls(len(data), lines)

    def build(self) -> bytes:
        """Return the block's bytes, `size` of them."""
        lines = [Piece(0, line.raw) for line in self._lines]
        padding = PADDING_BYTE * (self._size - self.used)
        return bytes(BLOCK.build({"lines": lines, "padding": padding}))

    def update(
        self,
        set: Mapping[str, str] | None = None,  # noqa: A002 the word of grub-editenv
        unset: Iterable[str] = (),
    ) -> EnvBlock:
        """Return a block with the names of `set` set and those of `unset` gone. Changes memory only.

        A name that has its value already keeps its bytes; one that has another value keeps its place; a new
        one goes to the end. Of duplicate names the first place stays and the others go, because `save_env`
        changes the first one while `load_env` takes the last. Lines of nothing but `#` go, from the
        last to the first, when and only when the room is needed.

        Raises:
            BadNameError: a name is empty, begins with `#`, or holds `=`, a newline or a NUL.
            BadValueError: a value holds a NUL, or text that does not stand for bytes.
            NoRoomError: the lines do not fit.
            ValueError: a name is in both.
        """
        wanted = {name: make_line(name, value) for name, value in (set or {}).items()}
        removed = frozenset(unset)
        both = removed & wanted.keys()
        if both:
            message = f"to be set and unset at once: {', '.join(sorted(both))}"
            raise ValueError(message)
        lines: list[Line] = []
        placed: dict[str, Line] = {}
        for line in self._lines:
            if line.name in removed or line.name in placed:
                continue
            if line.name is None or line.name not in wanted:
                lines.append(line)
                continue
            new = wanted[line.name]
            placed[line.name] = line if line.value == new.value else new
            lines.append(placed[line.name])
        lines += [line for name, line in wanted.items() if name not in placed]
        return EnvBlock(self._size, drop_last(lines, self._size - len(SIGNATURE), lambda line: line.is_filler))

    def resize(self, size: int) -> EnvBlock:
        """Return the block with another size in bytes; lines of nothing but `#` go if the room is needed.

        Raises:
            NoRoomError: the lines do not fit.
        """
        return EnvBlock(size, drop_last(list(self._lines), size - len(SIGNATURE), lambda line: line.is_filler))

    def beyond(self, limit: int, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of `names` that have a line which ends beyond byte `limit`."""
        asked = frozenset(names)
        found: dict[str, None] = {}
        end = len(SIGNATURE)
        for line in self._lines:
            end += len(line.raw)
            if line.name is not None and line.name in asked and end > limit:
                found[line.name] = None
        return tuple(found)

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines in their order, comments and duplicates included."""
        return self._lines

    @property
    def duplicates(self) -> tuple[str, ...]:
        """The names that are set in more than one line."""
        seen: dict[str, int] = {}
        for line in self._lines:
            if line.name is not None:
                seen[line.name] = seen.get(line.name, 0) + 1
        return tuple(name for name, count in seen.items() if count > 1)

    @property
    def size(self) -> int:
        """The block's size in bytes, which is the file's size."""
        return self._size

    @property
    def used(self) -> int:
        """The bytes before the padding: signature and lines."""
        return len(SIGNATURE) + sum(len(line.raw) for line in self._lines)

    def __getitem__(self, name: str) -> str:
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, each once, in the order of their first lines."""
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __eq__(self, other: object) -> bool:
        """Compare byte for byte; with any other mapping, name for name."""
        if isinstance(other, EnvBlock):
            return (self._size, self._lines) == (other._size, other._lines)
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash((self._size, self._lines))

    def __repr__(self) -> str:
        return f"<EnvBlock of {self._size} bytes, {self.used} used: {self._variables!r}>"


def make_line(name: str, value: str) -> Line:
    """Return the line that GRUB itself would write for `name` and `value`.

    Raises:
        BadNameError, BadValueError: see `EnvBlock.update`.

    Source: GRUB grub-core/lib/envblk.c, grub_envblk_set.
    """
    name_bytes = _encode(name, BadNameError(f"{name!r} is not a name: it does not stand for bytes", verb="set"))
    fault = name_fault(name_bytes)
    if fault:
        raise BadNameError(f"{name!r} is not a name: {fault}", verb="set")
    value_bytes = _encode(value, BadValueError(f"the value of {name!r} does not stand for bytes", verb="set"))
    if b"\0" in value_bytes:
        raise BadValueError(f"the value of {name!r} holds a NUL, at which GRUB would end it", verb="set")
    return Line(join(name_bytes, value_bytes) + b"\n", name, value)


def name_fault(name: bytes) -> str:
    """Return why no line can hold `name`, or an empty string."""
    if not name:
        return "it is empty"
    if name.startswith(b"#"):
        return "a line that begins with # is a comment"
    for byte, word in ((b"=", "="), (b"\n", "a newline"), (b"\0", "a NUL")):
        if byte in name:
            return f"it holds {word}"
    return ""


def _encode(string: str, error: BadNameError | BadValueError) -> bytes:
    try:
        return raw(string)
    except UnicodeEncodeError as exc:
        raise error from exc


def _read_line(data: bytes, offset: int) -> Line | Damage:
    """Return the line, or what is wrong with it."""
    if data.startswith(PADDING_BYTE):
        return Line(data)
    if b"=" not in data:
        shown = text(data[:-1])
        return Damage("malformed-line", offset, f"line without '=' ({shown!r})" if shown else "empty line")
    name, value = split(data[:-1])
    fault = name_fault(name)
    if fault:
        return Damage("bad-name", offset, f"bad name {text(name)!r} ({fault})")
    if b"\0" in value:
        return Damage("nul-in-value", offset + data.index(b"\0"), f"NUL in the value of {text(name)!r}")
    return Line(data, text(name), text(value))


def _judge_padding(padding: bytes, offset: int) -> list[Damage]:
    """Return what is wrong behind the last finished line."""
    foreign = padding.strip(PADDING_BYTE)
    if not foreign:
        return []
    if padding.startswith(foreign):
        return [Damage("no-newline", offset + len(foreign), "no newline before the padding")]
    start = padding.index(foreign)
    return [Damage("stray-bytes", offset + start, "stray bytes in the padding")]


def drop_last(lines: list[Line], room: int, can_go: Callable[[Line], bool]) -> list[Line]:
    """Return `lines` without as many of the last ones that can go as it takes to fit into `room` bytes, if it can."""
    excess = sum(len(line.raw) for line in lines) - room
    kept = []
    for line in reversed(lines):
        if excess > 0 and can_go(line):
            excess -= len(line.raw)
        else:
            kept.append(line)
    return kept[::-1]
