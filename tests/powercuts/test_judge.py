"""Rules that look at nothing but GRUB's files."""

import grubenv
from manageboot.events import history
from powercuts.agentjudge import modules
from powercuts.judge import told_too_early, trusted_too_early


def block(**variables: str) -> bytes:
    return grubenv.EnvBlock.create().update(variables).build()


def log(*events: tuple[str, str]) -> bytes:
    entries = (history.Entry("", event, slot, "", sequence=number) for number, (event, slot) in enumerate(events))
    return b"".join(map(history.encode, entries))


def test_the_trusted_slot_is_not_the_one_on_trial():
    for cycle, slot, wrong in (
        ("first_boot", "B", True),
        ("failsafe_check", "B", True),
        ("failsafe_check", "A", False),
        ("stable", "B", False),
    ):
        files = {"grubenv": block(boot_alternative=slot, boot_cycle=cycle), "manageboot.env": block(mb_trusted="B")}
        assert bool([*trusted_too_early(files)]) == wrong


def test_a_trial_is_told_of_once_the_block_knows_of_it():
    for cycle, last, wrong in (
        ("first_boot", "trial_started", True),
        ("failsafe_check", "trial_started", False),
        ("first_boot", "committed", False),
    ):
        files = {
            "grubenv": block(boot_alternative="B", boot_cycle=cycle),
            "manageboot.log": log(("installed", "B"), (last, "B")),
        }
        assert bool([*told_too_early(files)]) == wrong


def test_the_agent_that_judges_has_what_a_node_has():
    """What builds releases needs libraries that no node has, nor a machine that only judges."""
    found = {*modules()}
    assert {"grubenv.updating", "manageboot.cli.main", "manageboot.unattended.memory"} <= found
    assert not [name for name in found if name.startswith(("manageboot.publish", "manageboot.manual"))]
