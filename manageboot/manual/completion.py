"""Completion for bash, zsh and fish.

shtab does not know fish and needs argparse, which `grubenv` does without for speed; argcomplete starts the program at
each press of the key. So the three scripts are written here, all in one way: a loop over the words before the cursor
finds the command, as `manageboot/upgrade-install`, and a table has what may follow.
"""

from collections.abc import Iterator

from manageboot.manual.commands import Command, Kind, Option, Value

_MADE = "# Made by `make completion` from what the program itself says of its options."


def _paths(command: Command, above: str = "") -> Iterator[tuple[str, Command]]:
    """Each command with where it is, such as `manageboot/status`."""
    path = f"{above}{command.name}"
    yield path, command
    for one in command.commands:
        yield from _paths(one, f"{path}/")


def _arrivals(program: Command) -> Iterator[tuple[str, str]]:
    """Each way to a command that is not the program itself: the pattern of its names, and its path."""
    for path, command in _paths(program):
        for one in command.commands:
            yield "|".join(f"{path}/{name}" for name in one.names), f"{path}/{one.name}"


def _valued(program: Command) -> str:
    """All options that take a value, as a pattern."""
    names = [
        name for _, command in _paths(program) for option in command.options if option.value for name in option.names
    ]
    return "|".join(dict.fromkeys(names))


def _values(program: Command) -> Iterator[tuple[str, Value]]:
    """Each option that takes a value, as a pattern of `PATH:OPTION`, and the value."""
    for path, command in _paths(program):
        for option in command.options:
            if option.value is not None:
                yield "|".join(f"{path}:{name}" for name in option.names), option.value


def _words(command: Command) -> list[tuple[str, str]]:
    """What may stand in the place of an operand, each with what it is."""
    commands = [(one.name, one.text) for one in command.commands]
    return commands + [(choice, value.text) for value in command.operands for choice in value.choices]


def _takes_files(command: Command) -> bool:
    return any(value.kind is Kind.FILE for value in command.operands)


def bash(program: Command) -> str:
    """Write the completion for bash."""
    lines = [
        f"# bash completion for {program.name}",
        _MADE,
        "",
        f"_{program.name}() {{",
        f"    local current=$2 previous=$3 at={program.name} options= words= files= i",
        "    # --slot=A comes in three words.",
        '    [[ $current == "=" ]] && current=',
        '    [[ $previous == "=" ]] && previous=${COMP_WORDS[COMP_CWORD-2]}',
        "    for ((i = 1; i < COMP_CWORD; i++)); do",
        '        case "${COMP_WORDS[i]}" in',
        f'            {_valued(program)}) ((i++)); [[ ${{COMP_WORDS[i]}} == "=" ]] && ((i++)); continue ;;',
        "        esac",
        '        case "$at/${COMP_WORDS[i]}" in',
        *(f"            {pattern}) at={path} ;;" for pattern, path in _arrivals(program)),
        "        esac",
        "    done",
        '    case "$at:$previous" in',
    ]
    for pattern, value in _values(program):
        choices = f'words="{" ".join(value.choices)}"' if value.choices else "files=yes" * (value.kind is Kind.FILE)
        lines.append(f"        {pattern}) {choices or ':'} ;;")
    lines += ['        *) case "$at" in']
    for path, command in _paths(program):
        options = " ".join(name for option in command.options for name in option.names)
        words = " ".join(word for word, _ in _words(command))
        files = " files=yes" * _takes_files(command)
        lines.append(f'            {path}) options="{options}" words="{words}"{files} ;;')
    lines += [
        "        esac ;;",
        "    esac",
        "    [[ $current == -* ]] && words=$options files=",
        '    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")',
        "    if [[ $files ]]; then",
        "        compopt -o filenames 2>/dev/null",
        '        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")',
        "    fi",
        "}",
        "",
        f"complete -F _{program.name} {program.name}",
    ]
    return "\n".join(lines) + "\n"


def zsh(program: Command) -> str:
    """Write the completion for zsh."""
    lines = [
        f"#compdef {program.name}",
        _MADE,
        "",
        f"_{program.name}() {{",
        "    local current=$words[CURRENT] previous=$words[CURRENT-1] i",
        f"    local at={program.name} files=",
        "    local -a options names",
        "    for ((i = 2; i < CURRENT; i++)); do",
        '        case "$words[i]" in',
        f"            {_valued(program)}) ((i++)); continue ;;",
        "        esac",
        '        case "$at/$words[i]" in',
        *(f"            {pattern}) at={path} ;;" for pattern, path in _arrivals(program)),
        "        esac",
        "    done",
        "    if [[ $current == --*=* ]]; then",
        "        previous=${current%%=*}",
        "        compset -P '*='",
        "        current=",
        "    fi",
        '    case "$at:$previous" in',
    ]
    for pattern, value in _values(program):
        done = (
            f"compadd -- {' '.join(value.choices)}" if value.choices else "_files" if value.kind is Kind.FILE else ":"
        )
        lines.append(f"        {pattern}) {done}; return ;;")
    lines += ["    esac", '    case "$at" in']
    for path, command in _paths(program):
        lines.append(f"        {path})")
        described = [(name, option.text) for option in command.options for name in option.names]
        lines += [
            f"            options=({_described(described)})",
            f"            names=({_described(_words(command))})",
        ]
        lines += ["            files=yes"] * _takes_files(command) + ["            ;;"]
    lines += [
        "    esac",
        "    if [[ $current == -* ]]; then",
        "        _describe -o option options",
        "        return",
        "    fi",
        "    (( $#names )) && _describe command names",
        "    [[ -n $files ]] && _files",
        "}",
        "",
        f'_{program.name} "$@"',
    ]
    return "\n".join(lines) + "\n"


def _described(words: list[tuple[str, str]]) -> str:
    return " ".join(_quoted(f"{word}:{text}") for word, text in words)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def fish(program: Command) -> str:
    """Write the completion for fish."""
    name = program.name
    lines = [
        f"# fish completion for {name}",
        _MADE,
        "",
        f"function __{name}_at",
        f"    set -l at {name}",
        "    set -l is_value no",
        "    for word in (commandline -opc)[2..]",
        "        if test $is_value = yes",
        "            set is_value no",
        "            continue",
        "        end",
        '        switch "$word"',
        f"            case {_valued(program).replace('|', ' ')}",
        "                set is_value yes",
        "        end",
        '        switch "$at/$word"',
    ]
    for pattern, path in _arrivals(program):
        lines += [f"            case {pattern.replace('|', ' ')}", f"                set at {path}"]
    lines += [
        "        end",
        "    end",
        "    test $at = $argv[1]",
        "end",
        "",
        f"complete -c {name} -f",
    ]
    for path, command in _paths(program):
        begin = f"complete -c {name} -n '__{name}_at {path}'"
        lines += [f"{begin} -a {word} -d {_fish(text)}" for word, text in _words(command)]
        lines += [f"{begin} {_fish_option(option)}" for option in command.options]
        lines += [f"{begin} -F"] * _takes_files(command)
    return "\n".join(lines) + "\n"


def _fish_option(option: Option) -> str:
    names = [f"-l {name[2:]}" if name.startswith("--") else f"-s {_fish(name[1:])}" for name in option.names]
    value = ""
    if option.value is not None:
        value = " -r -F" if option.value.kind is Kind.FILE else " -x"
        value += f" -a {_fish(' '.join(option.value.choices))}" if option.value.choices else ""
    return f"{' '.join(names)}{value} -d {_fish(option.text)}"


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
