"""Completion, pressed for in the real shells."""

import os
import pty
import re
import select
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from manageboot.manual import __main__ as manual

CASES = {
    "manageboot upgrade-i": {"upgrade-install"},
    "manageboot guestos rollb": {"rollback"},
    "manageboot -c x.toml --disk status hist": {"history"},
    "manageboot bootloader ": {"show", "check", "install"},
    "manageboot upgrade-install --sl": {"--slot"},
    "manageboot upgrade-install --slot ": {"A", "B"},
    "manageboot rollback --because u": {"unhealthy"},
    "manageboot upgrade-install ima": {"image.tar"},
    "manageboot --disk ima": {"image.tar"},
    "manageboot status ima": set(),
    "manageboot upgrade-install --sha256 ima": set(),
    "manageboot current_root --he": {"--help"},
    "grubenv image.tar rep": {"repair"},
    "grubenv ima": {"image.tar"},
    "grubenv repair --cmdline ima": {"image.tar"},
}
"""What is offered for a command line with the cursor at its end."""

_STEP_S = 30


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("completion")
    manual.main(["completion", str(directory / "made")])
    (directory / "here").mkdir()
    (directory / "here" / "image.tar").touch()
    return directory


def test_bash(made: Path):
    lines = [f"source {made}/made/manageboot", f"source {made}/made/grubenv"]
    for line in CASES:
        words = line.split(" ")
        last = shlex.join(words[-2:][::-1]) if words[-1] else f"'' {words[-2]}"
        lines += [
            f"COMP_WORDS=({' '.join(word or chr(39) * 2 for word in words)}) COMP_CWORD={len(words) - 1}",
            f"_{words[0]} {words[0]} {last}",
            'echo "${COMPREPLY[@]}"',
        ]
    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(lines)], check=True, capture_output=True, text=True, cwd=made / "here"
    )
    assert done.stderr == ""
    assert dict(zip(CASES, map(set, map(str.split, done.stdout.splitlines())), strict=True)) == CASES


def test_bash_takes_an_option_with_its_value_in_one_word(made: Path):
    script = f"source {made}/made/manageboot; COMP_WORDS=(manageboot upgrade-commit --slot =) COMP_CWORD=3"
    script += "; _manageboot manageboot '' --slot; echo ${COMPREPLY[@]}"
    script += "; COMP_WORDS=(manageboot upgrade-commit --slot = A --no) COMP_CWORD=5"
    script += "; _manageboot manageboot --no A; echo ${COMPREPLY[@]}"
    done = subprocess.run(["bash", "--norc", "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["A B", "--no-reboot"]


@pytest.mark.long
def test_fish(made: Path):
    lines = [f"source {made}/made/manageboot.fish", f"source {made}/made/grubenv.fish"]
    for line in CASES:
        lines += [f"complete -C '{line}' | string replace -r '\\t.*' ''", "echo ."]
    done = subprocess.run(
        ["fish", "--no-config", "-c", "\n".join(lines)], check=True, capture_output=True, text=True, cwd=made / "here"
    )
    offered = [set(part.split()) for part in done.stdout.split(".\n")]
    found = dict(zip(CASES, [{word.removeprefix("./") for word in part} for part in offered], strict=False))
    assert done.stderr == ""
    assert found == CASES


class Zsh:
    """A zsh at a terminal, which shows its line when it is asked to."""

    def __init__(self, made: Path) -> None:
        self._process, self._terminal = pty.fork()
        if self._process == 0:
            os.chdir(made / "here")
            os.execvpe("zsh", ["zsh", "-f", "-i"], {**os.environ, "TERM": "dumb", "PS1": "", "HOME": str(made)})
        self._send(f"fpath=({made}/made $fpath); autoload -U compinit; compinit -u -D; setopt nolistbeep nobeep\n")
        self._send("show() { print -r -- \"<$BUFFER>\"; zle kill-buffer }; zle -N show; bindkey '^X' show\n")

    def _send(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def completed(self, line: str) -> str:
        """Type a line and a tab; return what the line is then."""
        self._send(f"{line}\t\x18")
        shown, until = "", time.monotonic() + _STEP_S
        while not (found := re.search(r"<(.*?)>\r?\n", shown)):
            assert time.monotonic() < until, shown
            if select.select([self._terminal], [], [], 1)[0]:
                shown += os.read(self._terminal, 4096).decode(errors="replace")
        return found[1]

    def end(self) -> None:
        """End the shell."""
        os.close(self._terminal)
        os.waitpid(self._process, 0)


@pytest.mark.long
def test_zsh(made: Path):
    shell = Zsh(made)
    try:
        for line, offered in CASES.items():
            words = line.split(" ")
            completed = shell.completed(line).rstrip()
            if len(offered) == 1:
                assert completed == " ".join([*words[:-1], *offered]), line
            else:
                assert completed == line.rstrip(), line
    finally:
        shell.end()
