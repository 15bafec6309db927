"""What `--help` says beside the options: the verbs by what they are for, and examples.

Only imported where somebody asks for help.
"""

from collections.abc import Mapping
from typing import NamedTuple

GROUPS = {
    "upgrade": ("upgrade-install", "upgrade-commit", "upgrade-cancel", "confirm", "rollback", "update", "daemon"),
    "look": ("status", "history", "inspect", "check"),
    "answer in one word": ("current", "target", "next", "current-root", "target-root"),
    "set up, find and repair": ("init", "doctor", "explain", "bootloader"),
    "publish": ("release",),
}
"""Every verb, by what it is for; in this order they are shown."""

_NAME_COLUMNS = 18


class Example(NamedTuple):
    """A command line, and what it does."""

    command: str
    does: str


EXAMPLES = {
    "upgrade-install": (
        Example("manageboot upgrade-install update-img.tar.zst", "write it into the passive slot, which boots later"),
        Example("manageboot upgrade-install", "the newest signed release of the channel"),
        Example("cat update-img.tar.gz | manageboot upgrade-install -", "from standard input"),
        Example("manageboot --disk guest.img upgrade-install --slot B update-img.tar", "into a stopped guest's slot B"),
    ),
    "upgrade-commit": (
        Example("manageboot upgrade-commit", "reboot, and try what upgrade-install wrote"),
        Example("manageboot upgrade-commit --no-reboot", "try it at the next reboot, whenever that is"),
    ),
    "upgrade-cancel": (
        Example("manageboot upgrade-cancel", "the commit; run it again to take back the installation too"),
        Example("manageboot upgrade-cancel --lock-timeout 60", "wait for another run up to a minute"),
    ),
    "confirm": (
        Example("manageboot confirm", "keep the new system"),
        Example("manageboot confirm --hold", "look at a trial in peace: the daemon does not end it meanwhile"),
        Example("manageboot confirm --release", "and let the daemon go on"),
    ),
    "rollback": (
        Example("manageboot rollback", "leave this trial; or, after a confirm, try the system from before"),
        Example("manageboot rollback --no-reboot --because unhealthy", "say why, and reboot by other means"),
    ),
    "update": (
        Example("systemctl enable --now manageboot-update.timer", "the way to run it"),
        Example("manageboot update", "once, now; it waits for its window all the same"),
        Example("manageboot update --retry", "also take a release again that did not stay here"),
    ),
    "daemon": (
        Example("systemctl enable --now manageboot.service", "the way to run it"),
        Example("manageboot --debug daemon", "in the foreground, to see what it decides"),
    ),
    "status": (
        Example("manageboot status", "for a person"),
        Example("manageboot status --json | jq .problems", "for a program"),
        Example("manageboot --disk /dev/vg/guest status", "of a guest, also while it runs"),
    ),
    "history": (
        Example("manageboot history", "the oldest event first"),
        Example("manageboot history --json | jq '.entries[-1]'", "the last event"),
    ),
    "inspect": (
        Example("manageboot inspect update-img.tar.zst", "an archive"),
        Example("manageboot inspect boot.img root.img", "two images; works on a machine without slots, too"),
        Example("manageboot inspect /media/stick/releases/1.4", "a release: who signed, and whether it is taken"),
    ),
    "check": (
        Example("manageboot check", "what the mirrors have"),
        Example("manageboot check /media/stick/releases --json", "what a stick has, for a program"),
    ),
    "current": (Example("manageboot current", "prints A or B"),),
    "target": (Example("manageboot target", "prints A or B: where upgrade-install would write"),),
    "next": (Example("manageboot next", "prints A or B: what GRUB boots next"),),
    "current-root": (
        Example("manageboot current-root", "prints a device, such as /dev/vda5"),
        Example("manageboot guestos current_partition", "by its old name, with the settings of guestos"),
    ),
    "target-root": (
        Example("manageboot target-root", "prints a device, such as /dev/vda8"),
        Example("manageboot guestos target_partition", "by its old name, with the settings of guestos"),
    ),
    "doctor": (
        Example("manageboot doctor", "exit status 65 if there is a fault"),
        Example("manageboot --disk guest.img doctor", "of a stopped guest"),
    ),
    "init": (
        Example("manageboot init", "look, and write nothing"),
        Example("manageboot init --write-config manageboot.toml", "a configuration, to be read before it is used"),
    ),
    "explain": (
        Example("manageboot explain NO_WAY_BACK", "an error, by the word at its end"),
        Example("manageboot explain died-later", "why a trial did not stay"),
        Example("manageboot explain", "all words"),
    ),
    "release": (
        Example("manageboot release build update-img.tar.zst --output releases --index 42", "a new release"),
        Example("manageboot release sign releases 1.2.3 --key keys/targets", "and nodes are told of it"),
        Example("manageboot release check releases", "read it as nodes do"),
    ),
    "bootloader": (
        Example("manageboot bootloader check", "exit status 65 if the node's grub.cfg is another one"),
        Example("manageboot bootloader show >grub.cfg", "to look at it, or to put it into an image"),
        Example("manageboot bootloader install", "beside the environment block"),
    ),
}


def overview(texts: Mapping[str, str]) -> str:
    """List the verbs by what they are for.

    Args:
        texts: what each verb does, by its name.
    """
    lines = []
    for title, names in GROUPS.items():
        lines += ["", f"{title}:"]
        lines += [f"  {name:{_NAME_COLUMNS}}  {texts[name]}" for name in names if name in texts]
    return "\n".join(lines)


def examples(verb: str) -> str:
    """Write the examples of a verb, each with what it does below it."""
    return "\n".join(["examples:", *(f"  {one.command}\n      {one.does}" for one in EXAMPLES[verb])])
