"""The record: what is written is what is read, and what a crash leaves is read too."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manageboot import errors
from manageboot.boot import record
from manageboot.boot.record import ImageRecord, SlotRecord
from manageboot.protocol import Content, Slot
from support.loop import run

samples = st.dictionaries(st.integers(0, 9), st.text("0123456789abcdef", min_size=64, max_size=64), max_size=3)
images = st.builds(
    ImageRecord, size=st.integers(10), data_size=st.integers(0), digest=st.text(max_size=20), sample=samples
)
texts = st.none() | st.text(max_size=20)
entries = st.builds(
    SlotRecord,
    content=st.sampled_from(Content),
    version=texts,
    transaction=texts,
    images=st.none() | st.dictionaries(st.sampled_from(["boot", "root", "verity"]), images, min_size=1),
    failure=texts,
)


@given(records=st.dictionaries(st.sampled_from(Slot), entries))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, records: dict[Slot, SlotRecord]):
    directory = str(tmp_path_factory.mktemp("state") / "made" / "on demand")
    record.store(directory, records)
    assert record.load(directory) == records


def test_nothing_is_known_of_a_new_node(tmp_path: Path):
    assert record.load(str(tmp_path / "state")) == {}
    assert record.content({}, Slot.A) is Content.VOID


def test_what_a_crash_leaves_beside_it_does_not_matter(tmp_path: Path):
    records = {Slot.B: SlotRecord(Content.INSTALLED, version="1")}
    record.store(str(tmp_path), records)
    (tmp_path / "record.json.new").write_text('{"half": ')
    assert record.load(str(tmp_path)) == records
    record.store(str(tmp_path), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["record.json"]


IMAGE = {"size": 10, "data_size": 10, "digest": "d"}


def test_a_record_of_an_earlier_version_has_no_samples(tmp_path: Path):
    (tmp_path / "record.json").write_text(
        json.dumps({"schema": 1, "slots": {"A": {"state": "installed", "boot": IMAGE}}})
    )
    assert record.load(str(tmp_path)) == {
        Slot.A: SlotRecord(Content.INSTALLED, images={"boot": ImageRecord(10, 10, "d", {})})
    }


def test_an_earlier_version_reads_the_entries_as_before(tmp_path: Path):
    """It refuses an entry, or an image, that has more than it knows, and does not look beside them."""
    image = ImageRecord(10, 10, "d", {0: "0" * 64})
    record.store(str(tmp_path), {Slot.A: SlotRecord(Content.INSTALLED, images={"boot": image})})
    stored = json.loads((tmp_path / "record.json").read_text())
    assert (stored["schema"], stored["slots"]) == (1, {"A": {"state": "installed", "boot": IMAGE}})


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"schema": 2, "slots": {}}', '{"schema": 1}', '{"schema": 1, "slots": []}']
    + [json.dumps({"schema": 1, "slots": slots}) for slots in ({"C": {}}, {"A": {}}, {"A": {"state": "new"}})]
    + [
        json.dumps({"schema": 1, "slots": {"A": {"state": "void", **more}}})
        for more in ({"x": 1}, {"boot": {}}, {"version": 5})
    ]
    + [
        json.dumps({"schema": 1, "slots": {"A": {"state": "installed", "boot": IMAGE}}, "samples": samples})
        for samples in (
            [],
            {"A": []},
            {"A": {"boot": []}},
            {"A": {"boot": {"x": "0" * 64}}},
            {"A": {"boot": {"-1": "0" * 64}}},
            {"A": {"boot": {"10": "0" * 64}}},
            {"A": {"boot": {"9" * 5000: "0" * 64}}},
            {"A": {"boot": {"0": "0" * 63}}},
            {"A": {"boot": {"0": 5}}},
        )
    ]
    + ["[" * 100_000],
)
def test_damage_is_named(tmp_path: Path, text: str):
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(errors.RecordDamagedError, match=f"cannot read {tmp_path}/record.json: ") as caught:
        record.load(str(tmp_path))
    assert caught.value.exit_code == 65


@pytest.mark.devices
def test_no_space_keeps_the_old_record(tmp_path: Path):
    run("mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", tmp_path)
    try:
        old = {Slot.A: SlotRecord(Content.CONFIRMED, version="old")}
        record.store(str(tmp_path), old)
        with pytest.raises(errors.CreateError, match="No space left on device"):
            record.store(str(tmp_path), {Slot.A: SlotRecord(Content.VOID, failure="x" * 10_000)})
        assert record.load(str(tmp_path)) == old
    finally:
        run("umount", tmp_path)
