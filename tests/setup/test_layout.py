"""What is said of what was seen: pure tables of machines, and the configurations and scripts that fit them."""

from pathlib import Path

import pytest

from manageboot import config, errors
from manageboot.protocol import Slot
from manageboot.setup import layout, pairs, proposal, setup
from manageboot.setup.layout import State
from manageboot.setup.machine import Configured, Grub, Machine, Part, Running, Script, Unit, Unknown
from manageboot.setup.setup import Wanted

ESP = Part("/dev/vda1", 11, "vda", "esp", "u1", number=1, kind=layout.ESP_TYPE)
GRUB_PART = Part("/dev/vda2", 12, "vda", "grub", "u2", number=2, kind="x")
ROOT_A = Part("/dev/vda3", 13, "vda", "root-a", "u3", number=3, kind="x")
ROOT_B = Part("/dev/vda4", 14, "vda", "root-b", "u4", number=4, kind="x")
BOOT_A = Part("/dev/vda5", 15, "vda", "boot-a", "u5", number=5, kind="x")
BOOT_B = Part("/dev/vda6", 16, "vda", "boot-b", "u6", number=6, kind="x")
PARTS = (ESP, GRUB_PART, ROOT_A, ROOT_B)

GRUB = Grub("/boot/grub", 12, "PARTLABEL=grub", "boot_alternative=A boot_cycle=stable", Slot.A, True, Script.PROTOCOL)
RUNNING = Running(True, "", frozenset({13}), (("ro", ""), ("ab.slot", "A")), (("/", 13),), Unit.ENABLED)
CONFIGURED = Configured("/etc/manageboot/manageboot.toml", {"A_root": "/dev/vda3", "B_root": "/dev/vda4"}, "ab.slot")
WHOLE = Machine(PARTS, GRUB, CONFIGURED, RUNNING)
BARE = Machine((), None, None, RUNNING._replace(arguments=(), unit=Unit.ABSENT, uefi=False))


def part(label: str, *, place: str = "vda", file_system: str = "", volume: str = "") -> Part:
    return Part(
        f"/dev/{label or volume}", hash((label, place)), place, label, f"u-{label}", volume, file_system=file_system
    )


def states(machine: Machine) -> dict[str, State]:
    return {thing.name: thing.state for thing in layout.things(machine)}


def thing(machine: Machine, name: str) -> layout.Thing:
    [found] = [one for one in layout.things(machine) if one.name == name]
    return found


def test_a_whole_layout():
    assert setup.report(WHOLE)["complete"]
    assert set(states(WHOLE).values()) == {State.FOUND}


def test_a_machine_without_slots():
    report = setup.report(BARE)
    assert not report["complete"]
    assert report["config"] is None
    assert [one["name"] for one in report["things"] if one["state"] == "found"] == ["EFI system partition"]
    said = setup.render(report)
    assert said.endswith("1 of 7 things are there")
    # Whatever is missing, something can be done about it.
    assert all(one.remedy for one in layout.things(BARE) if one.state is State.MISSING and one.name != "grub.cfg")


def test_in_a_container_it_says_so():
    machine = BARE._replace(running=BARE.running and BARE.running._replace(container="docker"))
    assert setup.render(setup.report(machine)).startswith("this is a container (docker)")


@pytest.mark.parametrize(
    ("a", "b"),
    [("root-a", "root-b"), ("root_A", "root_B"), ("A_root", "B_root"), ("a-root", "b-root"), ("rootA", "rootB"),
     ("rootfs-a", "rootfs-b"), ("Root.A", "Root.B"), ("system_a", "system_b")],
)  # fmt: skip
def test_names_of_a_pair(a: str, b: str):
    [found] = pairs.find([part(a), part(b)])
    assert found.by_role["root"].parts == {Slot.A: part(a), Slot.B: part(b)}


@pytest.mark.parametrize(
    "labels", [("roota", "rootb"), ("root-a",), ("root-a", "root-a", "root-b"), ("root-a", "root-c"), ("data", "datb")]
)
def test_names_that_are_no_pair(labels: tuple[str, ...]):
    assert pairs.find([part(label) for label in labels]) == []


def test_a_pair_is_on_one_disk():
    assert pairs.find([part("root-a"), part("root-b", place="vdb")]) == []
    both = [part(f"root-{slot}", place=place) for place in ("vda", "vdb") for slot in "ab"]
    assert [one.place for one in pairs.find(both)] == ["vda", "vdb"]
    machine = BARE._replace(parts=tuple(both))
    assert thing(machine, "slots A and B").text == "several disks have both: vda, vdb"
    assert BARE.running is not None
    own = machine._replace(running=BARE.running._replace(root=frozenset({both[2].device})))
    slots = layout.slots_of(own)
    assert slots is not None
    assert slots.place == "vdb"


def test_roles():
    labels = ("boot", "root", "verity", "var", "data", "kernel2")
    [found] = pairs.find([part(f"{label}-{slot}") for label in labels for slot in "ab"])
    assert (found.written, found.wiped, found.others) == (("boot", "root", "verity"), ("var",), ("data", "kernel2"))
    machine = BARE._replace(parts=tuple(part(f"{label}-{slot}") for label in labels for slot in "ab"))
    assert thing(machine, "slots A and B").remedy.endswith("what these are for: data, kernel2")


def test_names_of_file_systems_go_with_the_next_installation():
    parts = (part("one", file_system="root-a"), part("two", file_system="root-b"))
    machine = BARE._replace(parts=parts)
    assert "an installation replaces" in thing(machine, "slots A and B").remedy
    assert 'root = "PARTLABEL=one"' in proposal.config(machine)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"device": 13}, "/boot/grub is on the root file system, which an upgrade replaces"),
        ({"device": 14}, "/boot/grub is on /dev/vda4, which an upgrade replaces"),
        ({"block": ""}, "/boot/grub has no environment block"),
    ],
)
def test_what_decides_the_boot_has_to_survive_an_upgrade(change: dict[str, object], text: str):
    found = thing(WHOLE._replace(grub=GRUB._replace(**change)), "GRUB's directory")
    assert (found.state, found.text) == (State.MISSING, text)
    assert found.remedy


def test_what_may_not_be_read_is_unknown():
    machine = WHOLE._replace(grub=GRUB._replace(script=Unknown("cannot read /boot/grub/grub.cfg: Permission denied")))
    assert thing(machine, "grub.cfg").state is State.UNKNOWN
    blind = BARE._replace(parts=Unknown("cannot list the block devices: /sys is not mounted"))
    assert states(blind)["slots A and B"] is states(blind)["EFI system partition"] is State.UNKNOWN


def test_the_mounted_root_contradicts_the_kernel_command_line():
    machine = WHOLE._replace(running=RUNNING._replace(root=frozenset({14})))
    assert "says ab.slot=A, and the mounted root is that of slot B" in thing(machine, "booted slot").text


def test_devices_of_the_configuration_that_are_not_there():
    lost = Unknown("cannot find PARTLABEL=x: no block device has it")
    machine = WHOLE._replace(configured=CONFIGURED._replace(devices={"A_root": "/dev/vda3", "B_root": lost}))
    assert thing(machine, "slots A and B").state is State.MISSING
    assert "B_root: cannot find PARTLABEL=x" in thing(machine, "slots A and B").text


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (PARTS, {Slot.A: {"root": "PARTLABEL=root-a"}, Slot.B: {"root": "PARTLABEL=root-b"}}),
        # A label that another disk has as well says nothing.
        (
            (*PARTS, part("root-a", place="vdb")),
            {Slot.A: {"root": "PARTUUID=u3"}, Slot.B: {"root": "PARTLABEL=root-b"}},
        ),
        (
            tuple(part("", place="vg", volume=f"vg/{slot}_{role}") for slot in "AB" for role in ("root", "var")),
            {slot: {role: f"LV=vg/{slot}_{role}" for role in ("root", "var")} for slot in Slot},
        ),
        (
            (part('A_r"\\é'), part("A_root"), part("B_root")),
            {slot: {"root": f"PARTLABEL={slot}_root"} for slot in Slot},
        ),
    ],
)
def test_the_configuration_is_one(parts: tuple[Part, ...], expected: dict[Slot, dict[str, str]], tmp_path: Path):
    path = tmp_path / "manageboot.toml"
    path.write_text(proposal.config(WHOLE._replace(parts=parts)))
    settings = config.load(str(path))
    assert settings.slots == expected
    assert (settings.boot.cmdline_key, settings.boot.grub_partition) == ("ab.slot", "PARTLABEL=grub")
    assert settings.boot.grubenv == "/boot/grub/grubenv"


def test_the_script_passes_on_what_the_kernel_was_told():
    told = (
        ("BOOT_IMAGE", "/vmlinuz"),
        ("root", "LABEL=x"),
        ("ro", ""),
        ("console", "ttyS0"),
        ("note", 'a "b $c'),
        ("ab.slot", "A"),
    )
    script = proposal.grub_cfg(WHOLE._replace(running=RUNNING._replace(arguments=told))).text()
    assert 'set arguments_B="root=PARTLABEL=root-b ro console=ttyS0"\n' in script
    assert "set part_A=gpt3\nset part_B=gpt4\n" in script
    assert "set kernel=/vmlinuz\nset initrd=/initrd.img\nset key=ab.slot\n" in script


@pytest.mark.parametrize(
    ("kernels", "parts", "expected"),
    [
        ((("/", 13),), PARTS, "/vmlinuz"),
        ((("/boot/", 13),), PARTS, "/boot/vmlinuz"),
        ((("/", 13), ("/boot/", 13)), PARTS, "/vmlinuz"),
        # Not known: as Debian has it.
        ((), PARTS, "/vmlinuz"),
        ((("/boot/", 15),), (*PARTS, BOOT_A, BOOT_B), "/vmlinuz"),
    ],
)
def test_where_grub_finds_the_kernel(kernels: tuple[tuple[str, int], ...], parts: tuple[Part, ...], expected: str):
    machine = WHOLE._replace(parts=parts, running=RUNNING._replace(kernels=kernels))
    assert proposal.grub_cfg(machine).kernel == expected


def test_nothing_that_grub_would_run_gets_into_its_script():
    hostile = (("x;reboot", "A"), ("a=b$(c)", "B"), ("ro", ""))
    parts = (
        ROOT_A._replace(file_system="root-a", label='";reboot #'),
        ROOT_B._replace(file_system="root-b", label="x y"),
    )
    machine = WHOLE._replace(parts=parts, configured=None, running=RUNNING._replace(arguments=hostile))
    script = proposal.grub_cfg(machine)
    assert script.arguments == {Slot.A: "root=PARTUUID=u3 ro", Slot.B: "root=PARTUUID=u4 ro"}
    assert script.key == proposal.DEFAULT_KEY


def test_a_volume_has_no_number_for_grub():
    parts = tuple(part("", place="vg", volume=f"vg/{slot}_root") for slot in "AB")
    with pytest.raises(errors.DeviceMissingError, match="is a logical volume"):
        proposal.grub_cfg(WHOLE._replace(parts=parts))


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (BARE._replace(parts=PARTS), "GRUB's directory was not found"),
        (WHOLE._replace(running=RUNNING._replace(container="lxc")), "this is a container"),
        (WHOLE._replace(running=RUNNING._replace(root=frozenset({99}))), "the mounted root is not that of a slot"),
        (WHOLE._replace(running=RUNNING._replace(root=frozenset({14}))), "slot B runs, and the environment block says"),
        (WHOLE._replace(grub=GRUB._replace(settled=False)), "this is settled first"),
        (WHOLE._replace(grub=GRUB._replace(block=Unknown("cannot read it"))), "cannot read it"),
        (WHOLE._replace(grub=GRUB._replace(device=13)), "which an upgrade replaces"),
        (WHOLE._replace(running=RUNNING._replace(kernels=())), "no vmlinuz with an initrd.img"),
        # A link from the root into a partition for /boot, which GRUB does not follow.
        (WHOLE._replace(running=RUNNING._replace(kernels=(("/", 15),))), "no vmlinuz with an initrd.img"),
    ],
)
def test_a_script_that_would_not_boot_what_runs_is_not_put_where_it_counts(machine: Machine, reason: str):
    with pytest.raises(errors.BootloaderError, match=reason):
        list(setup.write(machine, Wanted(None, "", replace=True)))


def test_a_file_is_replaced_on_demand_only(tmp_path: Path):
    path = tmp_path / "deep" / "manageboot.toml"
    assert list(setup.write(WHOLE, Wanted(str(path), None, replace=False))) == [str(path)]
    text = path.read_text()
    path.write_text("mine")
    with pytest.raises(errors.CreateError, match="it is there already"):
        list(setup.write(WHOLE, Wanted(str(path), None, replace=False)))
    assert path.read_text() == "mine"
    assert list(setup.write(WHOLE, Wanted(str(path), None, replace=True))) == [str(path)]
    assert path.read_text() == text


def test_nothing_is_written_where_anything_is_refused(tmp_path: Path):
    (tmp_path / "grub.cfg").write_text("mine")
    with pytest.raises(errors.CreateError):
        list(setup.write(WHOLE, Wanted(str(tmp_path / "new.toml"), str(tmp_path / "grub.cfg"), replace=False)))
    assert [path.name for path in tmp_path.iterdir()] == ["grub.cfg"]
    with pytest.raises(errors.DeviceMissingError, match="no two slots were found"):
        list(setup.write(BARE, Wanted(str(tmp_path / "new.toml"), None, replace=False)))


def test_a_directory_of_grub_that_is_gone_is_no_bug(tmp_path: Path):
    machine = WHOLE._replace(grub=GRUB._replace(path=str(tmp_path / "gone")))
    with pytest.raises(errors.InputError, match="gone: No such file or directory"):
        list(setup.write(machine, Wanted(None, "", replace=True)))
