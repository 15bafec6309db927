"""Each JSON output against its schema in the package: as it is now, as it was, and what a verb says when it fails."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from manageboot.cli import main
from support.images import make_update
from support.node import LoopNode
from support.repository import Repository

ROOT = Path(__file__).parents[2]
SCHEMAS = {path.name.removesuffix(".schema.json"): json.loads(path.read_text())
           for path in (ROOT / "manageboot" / "schemas").iterdir()}  # fmt: skip
FIXTURES = sorted((Path(__file__).parent / "fixtures").iterdir())


def closed(schema: Any) -> Any:
    """The schema with nothing allowed that it does not name: what we print has to be documented."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    return {"additionalProperties": False, **inner} if isinstance(schema.get("properties"), dict) else inner


def check(name: str, output: str) -> dict[str, Any]:
    """Hold an output, which has to be one object, to its schema."""
    found = json.loads(output)
    Draft202012Validator(closed(SCHEMAS[name])).validate(found)
    return found


@pytest.fixture
def asked(node: LoopNode, capsys: pytest.CaptureFixture[str]):
    """Ask as `--json` does, in this process; give exit status and stdout."""

    def ask(*words: object) -> tuple[int, str]:
        status = main.run(["-c", str(node.config), *map(str, words)])
        return status, capsys.readouterr().out

    return ask


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_and_is_documented(name: str):
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert f"`{name}.schema.json`" in (ROOT / "docs" / "json.md").read_text()


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.name)
def test_what_an_earlier_version_printed_is_still_valid(fixture: Path):
    Draft202012Validator(SCHEMAS[fixture.name.partition(".")[0]]).validate(json.loads(fixture.read_text()))


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_refuses_what_lacks_a_key(name: str):
    [fixture] = [path for path in FIXTURES if path.name == f"{name}.1.json"]
    found = json.loads(fixture.read_text())
    for key in found:
        without = {other: value for other, value in found.items() if other != key}
        assert not Draft202012Validator(SCHEMAS[name]).is_valid(without), key


@pytest.mark.devices
def test_every_verb_answers_in_json(node: LoopNode, asked, tmp_path: Path):
    update = make_update(tmp_path / "update")
    for verb in ("current", "target", "next", "current-root", "target-root"):
        status, output = asked(verb, "--json")
        assert status == 0
        assert check("query", output)["verb"] == verb
    assert check("query", asked("bootloader", "show", "--json")[1])["grub_cfg"].startswith("#")
    check("inspect", asked("inspect", update, "--json")[1])
    check("status", asked("status", "--json")[1])
    for words in (["upgrade-install", update], ["upgrade-commit", "--no-reboot"], ["upgrade-cancel"],
                  ["upgrade-commit", "--no-reboot"]):  # fmt: skip
        status, output = asked(*words, "--json")
        assert status == 0
        done = check("done", output)
        assert (done["verb"], done["booted"]) == (words[0], "A")
    # What it warned of is there too, for whoever drops stderr. A process of its own, as pytest takes the warnings here.
    done = check("done", node.ok("confirm", "--json"))
    assert [text for text in done["warnings"] if text.startswith("nothing is confirmed")]
    node.boot()
    check("status", asked("status", "--json")[1])
    assert check("done", asked("rollback", "--no-reboot", "--json")[1])["next"] == "A"
    check("history", asked("history", "--json")[1])
    for words in (["confirm", "--hold"], ["confirm", "--release"]):
        check("done", asked(*words, "--json")[1])


@pytest.mark.devices
@pytest.mark.parametrize(
    ("words", "exit_status", "code"),
    [
        (["upgrade-commit", "--json"], 69, "NOTHING_INSTALLED"),
        (["rollback", "--json"], 69, "NO_WAY_BACK"),
        (["inspect", "/nowhere", "--json"], 66, "NO_INPUT"),
        (["current", "--json", "--unheard-of"], 2, "USAGE"),
        (["--json"], 2, "USAGE"),
        (["frobnicate", "--json"], 2, "USAGE"),
        (["status", "--json", "--watch"], 2, "USAGE"),
        (["upgrade-install", "--sha256", "x", "/nowhere", "--json"], 2, "USAGE"),
        (["bootloader", "check", "--json"], 66, "NO_INPUT"),
    ],
)
def test_a_failure_is_one_object(asked, words: list[str], exit_status: int, code: str):
    status, output = asked(*words)
    error = check("error", output)["error"]
    assert (status, error["exit"], error["code"]) == (exit_status, exit_status, code)
    assert error["message"].startswith("cannot ")


@pytest.mark.devices
def test_a_report_with_faults_has_the_error_beside_it(node: LoopNode, asked):
    node.set_block(boot_alternative="B")
    status, output = asked("doctor", "--json")
    report = check("doctor", output)
    assert (status, report["sound"], report["error"]["code"]) == (65, False, "UNSOUND")
    assert "CONFLICT" in [finding["code"] for finding in report["findings"]]


@pytest.mark.devices
def test_an_update_answers_in_json_and_status_shows_it(node: LoopNode, asked):
    asked("confirm", "--hold")
    status, output = asked("update", "--json")
    told = check("update", output)
    assert (status, told["result"]) == (0, "held")
    last = check("status", asked("status", "--json")[1])["update"]["last"]
    assert last == {key: told[key] for key in last}


def test_init_and_explain_need_no_node(capsys: pytest.CaptureFixture[str]):
    assert main.run(["init", "--json"]) == 0
    assert check("init", capsys.readouterr().out)["written"] == []
    for words in (["explain", "NO_BLOCK"], ["explain"]):
        assert main.run([*words, "--json"]) == 0
        assert "NO_BLOCK" in check("query", capsys.readouterr().out)["text"]


def test_init_that_is_refused_has_the_error_beside_it(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    path = tmp_path / "grub.cfg"
    path.touch()
    assert main.run(["init", "--write-grub-cfg", str(path), "--json"]) != 0
    report = check("init", capsys.readouterr().out)
    assert (report["written"], path.read_bytes()) == ([], b"")
    assert report["error"]["message"].startswith("cannot ")


def test_what_is_published_is_checked_in_json(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    published = Repository(tmp_path)
    published.make()
    for directory, signed in ((published.www, True), (published.www / "1.0", False)):
        assert main.run(["release", "check", str(directory), "--json"]) == 0
        assert bool(check("release-check", capsys.readouterr().out)["metadata"]) is signed


@pytest.mark.devices
def test_without_json_nothing_changes(asked):
    assert asked("upgrade-commit") == (69, "")
    assert asked("current") == (0, "A\n")


def test_every_verb_takes_json():
    help_of_all = (ROOT / "docs" / "command-line.md").read_text()
    verbs = re.findall(r"^  ([a-z][a-z-]+) ", help_of_all, re.MULTILINE)
    assert set(main._HANDLERS) <= set(verbs)
    for verb in verbs:
        operands = {"upgrade-install": ["x"], "inspect": ["x"], "bootloader": ["show"], "release": ["keys", "x"]}.get(
            verb, []
        )
        assert main.parser.parse([verb, *operands, "--json"]).json, verb
