"""A configuration that somebody broke, or wrote to break something: one error that names the file, and never a bug."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from manageboot import config, errors
from manageboot.protocol import Slot

FULL = """\
profile = "custom"
[boot]
grubenv = "/boot/grub/grubenv"
grub_partition = "PARTUUID=7c0a626e-e5ea-e543-b5c5-300eb8304db7"
cmdline = "/proc/cmdline"
cmdline_key = "dfinity.system"
reboot_command = ["systemctl", "reboot"]
tries = 1
reboot_again = false
[slots]
written = ["boot", "root"]
wiped = ["var"]
[slots.A]
boot = "/dev/vda4"
root = "PARTLABEL=A_root"
var = "LV=group/A_var"
[slots.B]
boot = "/dev/vda7"
root = "PARTLABEL=B_root"
var = "LV=group/B_var"
[state]
directory = "/var/lib/manageboot"
lock = "/run/manageboot/lock"
history = "/boot/grub/manageboot.log"
lock_timeout = "30s"
[install]
wipe_var = "16MiB"
verify = true
check_sample = ["root"]
check_content = true
[confirm]
policy = "external"
deadline = "15min"
[health]
required_units = ["a.service"]
directory = "/etc/manageboot/health.d"
timeout = "1min"
[metrics]
directory = "/run/node_exporter/collector_textfile"
"""
NINES = "9" * 5000
DEEP = ".".join(["a"] * 400)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manageboot.toml"


def refused(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(errors.ConfigError) as caught:
        config.load(str(path))
    said = str(caught.value)
    assert caught.value.exit_code == 78
    assert str(path) in said
    assert len(said) < 600
    return said


def test_the_example_is_whole(path: Path):
    path.write_text(FULL)
    loaded = config.load(str(path))
    assert (loaded.slots[Slot.B]["var"], loaded.state.lock_timeout_s) == ("LV=group/B_var", 30)


def test_no_key_takes_a_value_of_another_type(path: Path):
    """Each key of the example in turn, with each of these."""
    values = [
        '""', "false", "-1", "[]", "[[]]", "{}", "1979-05-27", "07:32:00", "1.5", "nan", "inf", "-1e400", '"\\u0000"',
        '"a\\u0000b"', '"/dev/\\u0000"', '["\\u0000"]', '[""]', f"0x{'f' * 5000}", f"{{ {DEEP} = 1 }}",
        "[" * 50 + "]" * 50, '"' + "x" * 5000 + '"', '"/' + "x" * 5000 + '"',
    ]  # fmt: skip
    taken = {
        ("reboot_again", "false"), ("verify", "false"), ("check_sample", "false"), ("check_content", "false"),
        ("required_units", "[]"), ("wiped", "[]"),
    }  # fmt: skip
    lines = FULL.splitlines()
    for number, line in enumerate(lines):
        key, equals, _ = line.partition(" = ")
        for value in values if equals else ():
            if (key, value) in taken or (key == "cmdline_key" and "xxx" in value):
                continue
            said = refused(path, "\n".join([*lines[:number], f"{key} = {value}", *lines[number + 1 :]]))
            assert key in said, (key, value[:20], said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"tries = {NINES}", "line 3 has a number with too many digits: tries = 9999"),
        (f"a.tries = [{NINES}]", "line 3 has a number with too many digits: a.tries = "),
        (f"{'.'.join(['a'] * 3000)} = 1", "line 3 has more than 500 dots"),
        (f"grubenv.{DEEP} = 1", "boot.grubenv has to be an absolute path, and it is {"),
        (f"a = {'[' * 3000}{']' * 3000}", "it is nested too deeply"),
        (f"a = {'{a=' * 3000}1{'}' * 3000}", "it is nested too deeply"),
        ('a = "\\ud800"', "is not a Unicode scalar value"),
        ("reboot_command = ['', 'x']", "boot.reboot_command names no program"),
        ("cmdline_key = 'a b'", "boot.cmdline_key has to be a word, and it is 'a b'"),
        ("cmdline_key = 'a=b'", "boot.cmdline_key has to be a word, and it is 'a=b'"),
    ],
)
def test_what_would_be_too_much(path: Path, line: str, said: str):
    assert said in refused(path, f"profile = 'guestos'\n[boot]\n{line}\n")


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("confirm", "deadline", "'36501d'", "at most 36500d, and it is '36501d'"),
        ("confirm", "deadline", "'999999999999999d'", "at most 36500d"),
        ("confirm", "deadline", "999999999999999", "at most 36500d, and it is 999999999999999"),
        ("confirm", "deadline", "'-1s'", "a value such as '15min', and it is '-1s'"),
        ("confirm", "deadline", "'\N{FULLWIDTH DIGIT ONE}min'", "a value such as '15min'"),
        ("confirm", "deadline", "'15min\\n'", "a value such as '15min'"),
        ("health", "timeout", "'9999999999999999'", "a value such as '15min'"),
        ("state", "lock_timeout", "1e3", "a value such as '15min', and it is 1000.0"),
        ("install", "wipe_var", "'999999999999999GiB'", "at most 8 EiB less one byte"),
        ("install", "wipe_var", "-1", "a value such as '16MiB', and it is -1"),
    ],
)
def test_quantities_that_make_no_sense(path: Path, section: str, key: str, value: str, said: str):
    text = refused(path, f"profile = 'guestos'\n[{section}]\n{key} = {value}\n")
    assert f"{section}.{key} has to be {said}" in text


def test_a_hundred_years_are_never_enough(path: Path):
    path.write_text("profile = 'guestos'\n[confirm]\ndeadline = '36500d'\n")
    assert config.load(str(path)).confirm.deadline_s == 36500 * 86400


@pytest.mark.parametrize(
    "value", ["[]", '""', "false", "0", "{}", "[[]]", '"nodeos"', '"guestos\\u0000"', "1979-05-27"]
)
def test_a_profile_is_a_name_or_not_there(path: Path, value: str):
    said = refused(path, f"profile = {value}\n")
    assert "profile has to be 'guestos' or 'hostos' or 'custom', and it is " in said
    with pytest.raises(errors.ConfigError):
        config.load(str(path), profile="guestos")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"profile = 'guestos' # \xff\n", "byte 22 is not UTF-8"),
        ("profile = 'guestos'\n".encode("utf-16"), "byte 0 is not UTF-8"),
        (b"profile = 'guestos'\n\xed\xa0\x80", "byte 20 is not UTF-8"),
        (b"\x1f\x8b\x08\0", "byte 1 is not UTF-8"),
        (b"\0" * 100, "Invalid statement"),
        (b"# much\n" * 10_000, "it has more than 65536 bytes"),
    ],
)
def test_a_file_that_is_no_text(path: Path, content: bytes, said: str):
    assert said in refused(path, content)


def test_a_byte_order_mark_and_the_ends_of_lines_of_other_systems_do_not_matter(path: Path):
    path.write_bytes(b"\xef\xbb\xbfprofile = 'hostos'\r\n[boot]\r\ntries = 2\r\n")
    assert config.load(str(path)).boot.tries == 2


@pytest.mark.parametrize(
    ("kind", "said"), [("fifo", "a pipe"), ("directory", "a directory"), ("/dev/zero", "a device")]
)
def test_what_is_no_file(tmp_path: Path, kind: str, said: str):
    path = {"fifo": tmp_path / "fifo", "directory": tmp_path}.get(kind, Path(kind))
    if kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(errors.ConfigError, match=f"cannot read {path}: it is {said}"):
        config.load(str(path))


MUTATIONS = ['"', "'", "[", "]", "{", "}", "=", ".", ",", "\n", "\r", "#", "\\", "\\u0000", "\0", "\x7f", "-", "1e9",
             "nan", "true", "0x", "9" * 4400, "[[", '"""', "é", "\ufeff", "1979-05-27", "a.b.c", " "]  # fmt: skip


def test_mutations_of_the_example_are_loaded_or_refused(path: Path):
    dice = random.Random(11)
    loaded = 0
    for _ in range(1500):
        text = FULL
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(text))
            text = text[:at] + dice.choice(MUTATIONS) + text[at + dice.randrange(4) :]
        data = bytearray(text.encode())
        if dice.random() < 0.2:
            data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data)
        try:
            settings = config.load(str(path))
        except errors.ConfigError as error:
            assert str(path) in str(error)
            continue
        loaded += 1
        # What is taken can be given to the kernel.
        for one in (settings.boot.grubenv, settings.state.directory, *settings.boot.reboot_command):
            assert b"\0" not in os.fsencode(str(one))
    assert 50 < loaded < 1000


RUN = (sys.executable, "-m", "manageboot")


def test_a_name_in_any_language_is_the_same_in_any_locale(path: Path, tmp_path: Path):
    (tmp_path / "größe").write_text("dfinity.system=B\n")
    path.write_text(f"profile = 'guestos'\n[boot]\ncmdline = '{tmp_path}/größe'\n")
    for locale in ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "C.UTF-8"}):
        environment = {**os.environ, **locale}
        done = subprocess.run(
            [*RUN, "-c", path, "current"], capture_output=True, text=True, check=False, env=environment
        )
        assert (done.returncode, done.stdout) == (0, "B\n"), done


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["upgrade-install", "x", "--sha256", "\N{FULLWIDTH DIGIT ZERO}" * 64], 2),
        (["upgrade-install", "x", "--sha256", "a" * 64 + "\n"], 2),
        (["upgrade-install", "x", "--sha256", ""], 2),
        (["confirm", "--lock-timeout", "nan"], 2),
        (["confirm", "--lock-timeout", "inf"], 2),
        (["confirm", "--lock-timeout", "1e400"], 2),
        (["confirm", "--lock-timeout", "-1"], 2),
        (["confirm", "--lock-timeout", "\N{FULLWIDTH DIGIT ONE}"], 2),
        (["confirm", "--lock-timeout", "9" * 5000], 2),
        (["confirm", "--lock-timeout="], 2),
        (["confirm", b"\xff\xfe"], 2),
        (["-c", b"/\xff\xfe", "current"], 78),
        (["-c", "", "current"], 78),
        (["-c", "x" * 5000, "current"], 78),
        (["-f", b"/\xff\xfe", "status"], 69),
        (["-f", "x" * 5000, "status"], 69),
        (["--disk", b"/\xff\xfe", "status"], 66),
        (["--disk", "", "status"], 66),
        (["--disk", "/dev/null", "status"], 66),
        (["--disk", "/" + "x" * 5000, "status"], 74),
    ],
)
def test_odd_arguments(arguments: list[str | bytes], status: int):
    done = subprocess.run([*RUN, "guestos", *arguments], capture_output=True, check=False, timeout=60)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == status, done
    assert [line[:26] for line in lines if not line.startswith("hint: ")] == ["manageboot: error: cannot "]


def test_no_configuration_is_one():
    assert config.load("/dev/null", profile="guestos") == config.load(None, profile="guestos", foreign=True)
