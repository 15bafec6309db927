"""A hook of MkDocs: what works on GitHub works on the site: links out of docs/, and anchors."""

import re
from typing import Any

# Where `make docs` puts what does not lie in docs/.
_BESIDE = {
    "../README.md": "index.md",
    "../CONTRIBUTING.md": "CONTRIBUTING.md",
    "../CHANGELOG.md": "CHANGELOG.md",
    "../SECURITY.md": "SECURITY.md",
    "../systemd-units/README.md": "systemd-units.md",
}


def on_config(config: Any) -> Any:
    """Give headings the anchors that GitHub gives them, so that one link works on both."""
    config.mdx_configs["toc"] = {"slugify": _anchor, "separator": "-"}
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links to where the site has their pages."""

    def led(match: re.Match[str]) -> str:
        path, hash_, anchor = match[1].partition("#")
        return f"]({_BESIDE.get(path, path.removeprefix('../docs/').removeprefix('docs/'))}{hash_}{anchor})"

    return re.sub(r"\]\(([^)\s]+)\)", led, markdown)


def _anchor(heading: str, _separator: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
