"""The same life of two upgrades on a hostOS: its slots are logical volumes, and the start of its guest confirms."""

from qemu_harness.cycle import V1, V2, V3, Expectation, Step, commit, first_boot, install, reset
from qemu_harness.machine import VirtualMachine

BREAK_GUEST = "touch /boot/grub/guest-is-broken"
"""The file lies on GRUB's partition, which both slots mount."""


def commit_with_a_broken_guest(machine: VirtualMachine) -> str:
    """Commit, and see to it that the guest does not start on the new system, so nobody confirms."""
    machine.check(BREAK_GUEST)
    return commit(machine)


# Image files bring no version into the record. var belongs to a slot, as on a guest.
HOST_STEPS = (
    Step(
        "first boot",
        "the host starts for the first time; GRUB finds its kernel on a logical volume",
        first_boot,
        Expectation(1, "A", V1, "A", "stable", "idle", "-", "-"),
    ),
    Step(
        "install v2",
        "manageboot upgrade-install writes v2 into slot B, from boot.img and root.img",
        install(f"{V2}-boot.img", f"{V2}-root.img"),
        Expectation(1, "A", V1, "A", "stable", "idle", "-", "installed"),
    ),
    Step(
        "commit v2",
        "manageboot upgrade-commit; the host reboots, its guest starts, and that confirms",
        commit,
        Expectation(2, "B", V2, "B", "stable", "idle", "confirmed", f"confirmed {V2}"),
    ),
    Step(
        "install v3",
        "manageboot upgrade-install writes v3 into slot A",
        install(f"{V3}-boot.img", f"{V3}-root.img"),
        Expectation(2, "B", V2, "B", "stable", "idle", "installed", f"confirmed {V2}"),
    ),
    Step(
        "commit v3",
        "manageboot upgrade-commit; the host reboots, and its guest does not start",
        commit_with_a_broken_guest,
        Expectation(3, "A", V3, "A", "failsafe_check", "trial", "-", "-"),
    ),
    Step(
        "reset",
        "v3 never confirms; somebody pushes the reset button",
        reset,
        Expectation(4, "B", V2, "B", "stable", "idle", "committed", f"confirmed {V2}"),
    ),
)
