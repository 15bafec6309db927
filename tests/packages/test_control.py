"""The Debian packages say the same as the Python project: version, licence, and what they need."""

import re
import tomllib
from pathlib import Path

import manageboot
from manageboot import config

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAMED_OTHERWISE = {"systemd-python": "systemd"}
OF_THE_LIBRARY = {"construct"}
"""What grubenv needs; all else is the agent's."""


def stanzas() -> dict[str, dict[str, str]]:
    """The fields of each package, by its name."""
    found = {}
    for text in (ROOT / "debian" / "control").read_text().strip().split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+):((?:.*)(?:\n .*)*)", text, re.MULTILINE))
        found[fields.get("Package", fields.get("Source", "")).strip() + ("" if "Package" in fields else " source")] = (
            fields
        )
    return found


def listed(field: str) -> set[str]:
    return {entry.strip() for entry in field.split(",") if entry.strip()}


def as_debian_says(requirement: str) -> set[str]:
    """What a requirement of pyproject.toml is in debian/control."""
    name, bounds = re.fullmatch(r"([\w-]+)(.*)", requirement).groups()
    signs = {"<": "<<", ">=": ">="}
    return {
        f"python3-{NAMED_OTHERWISE.get(name, name)} ({signs[sign]} {version})"
        for sign, version in re.findall(r"(<|>=)([\d.]+)", bounds)
    }


def test_they_depend_on_what_the_project_does():
    library = set().union(
        *(as_debian_says(text) for text in PROJECT["dependencies"] if name_of(text) in OF_THE_LIBRARY)
    )
    agent = set().union(
        *(as_debian_says(text) for text in PROJECT["dependencies"] if name_of(text) not in OF_THE_LIBRARY)
    )
    packages = stanzas()
    substituted = {"${misc:Depends}", "${python3:Depends}"}
    assert listed(packages["python3-grubenv"]["Depends"]) == library | substituted
    assert listed(packages["manageboot"]["Depends"]) == agent | substituted | {"python3-grubenv (= ${binary:Version})"}
    extras = {f"python3-{name_of(text)}" for texts in PROJECT["optional-dependencies"].values() for text in texts}
    assert extras <= listed(packages["manageboot"]["Suggests"])


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=]", requirement)[0]


def test_they_are_of_the_same_version_and_python():
    assert (
        re.match(r"manageboot \((.*)\) unstable;", (ROOT / "debian" / "changelog").read_text())[1]
        == manageboot.__version__
    )
    assert PROJECT["requires-python"] == stanzas()["manageboot source"]["X-Python3-Version"].strip().replace(" ", "")


def test_the_licence_is_said_in_every_place():
    assert PROJECT["license"]["text"] == "Apache-2.0"
    assert "License: Apache-2.0\n" in (ROOT / "debian" / "copyright").read_text()
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_the_example_is_a_configuration():
    settings = config.load(str(ROOT / "docs" / "examples" / "manageboot.toml"))
    assert {str(slot): dict(roles) for slot, roles in settings.slots.items()} == {
        "A": {"boot": "PARTLABEL=boot-a", "root": "PARTLABEL=root-a", "var": "PARTLABEL=var-a"},
        "B": {"boot": "PARTLABEL=boot-b", "root": "PARTLABEL=root-b", "var": "PARTLABEL=var-b"},
    }
