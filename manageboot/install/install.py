"""Write an update image into the passive slot.

The order is what makes it safe; each step is on the disk before the next one begins:

1. The old record is void; the new one says installing. If the slot was the trusted one, as may be offline, GRUB trusts
   the other one now.
2. The header of the boot device, or of root where there is no boot, is zeros: GRUB finds no file system there.
3. Boot (all but its header), root and what else the image brings are written, flushed, read back past the cache and
   compared; the input has been read to its end and judged.
4. The beginning of var is wiped.
5. The header of boot is written, flushed and read back: now the slot could be booted.
6. The record says installed: now it may be committed.

docs/install.md has the same numbers. Interrupted anywhere, the slot is void, the booted one untouched, and a new
installation starts at 1. Nothing is told before it is on the disk, and all of it by the thread that called: the metric
of an image follows 3, that of the image with the header 5, and the event of the installation 6.
"""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain

from manageboot import errors
from manageboot.boot import floor, record
from manageboot.boot.header import HEADER_BYTES
from manageboot.boot.record import SlotRecord, now
from manageboot.channel import ahead, channel, spool
from manageboot.channel.channel import Wanted
from manageboot.channel.source import ReleaseImage
from manageboot.config import Config
from manageboot.disk import diskusers
from manageboot.disk.blockdev import BlockDevice, wipe
from manageboot.disk.devices import writable_devices
from manageboot.events import events, metrics
from manageboot.image import VERSION, Member, UpdateImage, member_name, open_image
from manageboot.image.acceptance import check_whole, checked
from manageboot.image.source import is_url, without_query
from manageboot.install import directboot, way
from manageboot.install.imagewriter import ImageWriter, no_header
from manageboot.install.passive import PassiveSlot
from manageboot.install.progress import Style, step
from manageboot.install.progressfile import shown
from manageboot.install.transfer import Transfer
from manageboot.install.vouched import choose, require_pinned
from manageboot.protocol import Content, Slot, Verb
from manageboot.system import console, signals
from manageboot.system.beside import beside
from manageboot.upgrade import arming
from manageboot.upgrade.begin import begun

logger = logging.getLogger(__name__)


def install(
    config: Config,
    images: Sequence[str],
    *,
    sha256: str | None,
    progress: Style,
    skip_identical: bool = False,
    release: Wanted | None = None,
) -> str:
    """Write an update image into the passive slot, as the steps above say.

    Args:
        config: the settings.
        images: the path or the URL of an archive, `-` for standard input, or the paths of a boot and a root image.
        sha256: the digest that the input must have, in hexadecimal, or None.
        progress: how to show how far it is.
        skip_identical: whether to read what the devices hold, and to write only what differs. An installation that
            follows an interrupted one of the same source does so by itself.
        release: which release is wanted, instead of images and their SHA-256; None: none.

    Returns:
        What was done, in words.

    Raises:
        RefusedError: not in this state, or a device of the slot is in use.
        InputError: the image, the block or a device is not there.
        CreateError: the block has no room for a commit.
        FetchError, FetcherError: the image can't be fetched.
        DataError: the image is bad, too large, or has another digest; or the block is damaged.
        DeviceError: a device failed, or does not hold what was written.

    Durability: once it returns, the slot is whole on the disk and may be committed; before, it can't be.
    """
    with (
        begun(config, Verb.INSTALL, brief=False) as (node, _),
        shown(config.state.runtime_directory) as file,
        ExitStack() as stack,
    ):
        slot = node.booted.other
        # A slot that could not be committed then would be void for nothing.
        arming.rehearse(config, node)
        devices = writable_devices(config.slots[slot], config.slots[slot.other])
        diskusers.require_unused(list(devices.values()))
        names = {role: member_name(role) for role in config.roles.written}
        choice = None if release is None else choose(config, node, release)
        update: UpdateImage
        if choice is None:
            require_pinned(config, sha256)
            update = stack.enter_context(open_image(images, list(names.values()), channel=config.channel.fetch))
        else:
            stack.callback(choice.place.close)
            update = stack.enter_context(channel.opened(choice, list(names.values())))
        opened = {role: stack.enter_context(BlockDevice(path)) for role, path in devices.items()}
        header_last = config.roles.header_last
        writers = {name: ImageWriter(opened[role], header_last=role == header_last) for role, name in names.items()}

        begin_s = time.monotonic()
        entry = SlotRecord(
            Content.INSTALLING, transaction=os.urandom(8).hex(), started=now(),
            source=os.path.basename(without_query(images[-1])) if choice is None else choice.name,
            source_sha256=None if choice is None else choice.sha256,
            # What the block tells of the commit before is over with this.
            nonce=node.environment.markers.nonce or None,
        )  # fmt: skip
        records = dict(node.records)
        skips = skip_identical or _resumes(records.get(slot), entry)
        passive = PassiveSlot({role: writers[name] for role, name in names.items()}, header_last)
        stack.callback(_tell_traffic, config, update)
        stack.enter_context(way.choose(update, passive, config, node, progress, file, compare=skips))
        members = _judged(update, writers, names[header_last], check_content=config.install.check_content)
        if console.debug:
            what = "what differs from what is there" if skips else "all of it"
            console.debug("install: %s of %s goes to slot %s", what, entry.source, slot)
        # Its buffers are most of the memory that a run needs; where there is none, the slot stays what it was.
        transfer = Transfer(
            update,
            writers,
            skip_identical=skips,
            verify=config.install.verify,
            often=_is_fetched(update),
            waits=_is_delta(update),
        )
        may_downgrade = release is not None and release.may_downgrade
        floor.note(config, slot, None, anew=may_downgrade, rehearse=choice is not None)
        record.store(config.state.directory, {**records, slot: entry})
        # All else that may refuse has done so: whoever can't install must not have lost the trusted slot by that.
        arming.trust_the_other(config, node)
        with _failure_recorded(config, records, slot, entry, transfer):
            wipe(opened[header_last], HEADER_BYTES)
            with step("write", update.bytes_total, progress, file) as meter:
                transfer.run(members, lambda: meter.update(transfer.counts))
                meter.update(transfer.counts)
            version = transfer.version.text
            _check_digest(update, sha256)
            if choice is None and sha256 is None and is_url(images[0]):
                logger.warning("nothing proves that the server sent the right image: give its SHA-256 with --sha256")
            writers[names[header_last]].check_header(names[header_last])
            if config.install.check_content:
                check_whole({name: writer.whole() for name, writer in writers.items()})
            _warn(update, transfer)
            for role in names:
                if role != header_last:
                    events.image_written(config, role, devices[role])
            with step("publish", None, progress, file):
                for role in config.roles.wiped:
                    if role in opened:
                        wipe(opened[role], config.install.wipe_var_bytes)
                writers[names[header_last]].write_header()
            events.image_written(config, header_last, devices[header_last])
            entry = entry._replace(
                content=Content.INSTALLED,
                version=version,
                source_sha256=update.sha256,
                images={role: writers[name].record() for role, name in names.items()},
                installed=now(),
            )
            signals.hold()
            if choice is not None:
                assert entry.transaction is not None
                floor.note(config, slot, channel.installed(choice, entry.transaction))
            record.store(config.state.directory, {**records, slot: entry})
        spool.clear(config.state.runtime_directory)
        ahead.clear(config.state.runtime_directory)
        _look_at_boot(config, slot, opened.get("boot"))
        spared = _spared(config, slot)
        kept = f"; {transfer.counts.kept >> 20} MiB of data were there already" if skips else ""
        named = f"version {version}" if version else "an image without a version"
        events.announce(
            config,
            events.Event.INSTALLED,
            f"Slot {slot} holds {named}{spared}",
            slot=slot,
            version=version,
            transaction=entry.transaction,
            seconds=round(time.monotonic() - begin_s, 3),
            written_bytes=transfer.counts.written,
        )
        return f"slot {slot} holds {named}{spared}{kept}{_came(update)}"


def _spared(config: Config, slot: Slot) -> str:
    """Name what the slot has and an installation neither writes nor wipes."""
    spared = [role for role in config.slots[slot] if role not in config.roles.written + config.roles.wiped]
    return f", and its {' and '.join(spared)} as before" if spared else ""


def _came(update: UpdateImage) -> str:
    """Tell what came by a delta; where that was not all, `_warn` has told why."""
    if not isinstance(update, ReleaseImage) or update.way.version is None:
        return ""
    return f"; of {update.way.version} in the booted slot, and {update.bytes_needed} bytes of frames"


def _judged(
    update: UpdateImage, writers: dict[str, ImageWriter], header_last: str, *, check_content: bool
) -> Iterator[Member]:
    """Judge all that can be known of an update image before anything is destroyed, and give its members.

    Its first image tells whether it is one at all. Of two image files, both are known.

    Args:
        update: the update image, of which nothing was read yet.
        writers: where each image goes, by the name of its member.
        header_last: the name of the image whose header is written last.
        check_content: whether images are refused that are known to be none that a slot can hold.
    """
    members = checked(update) if check_content else update.members()
    first = [next(members)]
    while first[-1].name == VERSION:
        _ = first[-1].head  # it is in memory now, and may be read later
        first.append(next(members))
    for member in (*update.known, first[-1]):
        writers[member.name].check_size(member.name, member.size)
        if member.name == header_last and not member.head[:HEADER_BYTES].strip(b"\0"):
            raise no_header(member.name, member.size)
    return chain(first, members)


def _is_fetched(update: UpdateImage) -> bool:
    return isinstance(update, ReleaseImage) and update.is_fetched


def _is_delta(update: UpdateImage) -> bool:
    return isinstance(update, ReleaseImage) and update.way.version is not None


def _tell_traffic(config: Config, update: UpdateImage) -> None:
    """Write what the mirrors did into the metrics, whatever has become of the installation."""
    if isinstance(update, ReleaseImage) and update.is_fetched:
        with beside("the metrics of the mirrors may be behind"):
            metrics.write_fetch(config, update.traffic())


def _resumes(before: SlotRecord | None, entry: SlotRecord) -> bool:
    """Tell whether an installation of the same source was begun and did not finish.

    The name decides, or the SHA-256 of release.json, wherever that came from. If it is another image all the same, the
    comparison finds that out, window by window.
    """
    if before is None:
        return False
    same_release = entry.source_sha256 is not None and before.source_sha256 == entry.source_sha256
    if before.source != entry.source and not same_release:
        return False
    return before.is_begun


@contextmanager
def _failure_recorded(
    config: Config, records: dict[Slot, SlotRecord], slot: Slot, entry: SlotRecord, transfer: Transfer
) -> Iterator[None]:
    """Leave in the record why an installation failed. The slot is void already; this is for people."""
    try:
        yield
    except BaseException as error:
        # A signal that comes now changes nothing any more, and must not cost the cause.
        signals.hold()
        failure = str(error) or type(error).__name__
        if not isinstance(error, Exception):  # a signal
            failure = f"it was interrupted after {transfer.counts.written} bytes were written"
        try:
            failed = entry._replace(content=Content.VOID, failure=failure)
            record.store(config.state.directory, {**records, slot: failed})
        except errors.ManagebootError as second:
            logger.warning("the failure is not in the record: %s", second)
        events.announce(
            config,
            events.Event.INSTALL_FAILED,
            f"Slot {slot} is void: {failure}",
            slot=slot,
            transaction=entry.transaction,
        )
        raise


def _warn(update: UpdateImage, transfer: Transfer) -> None:
    """Tell of what is odd and does no harm."""
    for name in update.ignored:
        logger.warning("member %s of the update image does not belong there and was skipped", name)
    for remark in (*update.remarks, *filter(None, [transfer.version.problem])):
        logger.warning("%s", remark)


def _look_at_boot(config: Config, slot: Slot, device: BlockDevice | None) -> None:
    """Tell what a host misses that boots the guest directly; of other systems GRUB alone loads the kernel."""
    if config.profile != "guestos" or device is None:
        return
    with beside("the boot partition was not looked at"):
        if (lost := directboot.lacks(device)) is not None:
            logger.warning("the boot of slot %s %s", slot, lost)


def _check_digest(update: UpdateImage, wanted: str | None) -> None:
    if wanted is not None and wanted.lower() != update.sha256:
        raise errors.ImageDigestError(
            f"cannot install: expected sha256 {wanted.lower()}, the input has {update.sha256}"
        )
