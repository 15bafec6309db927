"""What to do about each error, and about each trial that did not stay; `explain` and docs/errors.md have it from here.

No query imports this. What an error means is the docstring of its class.
"""

from manageboot.boot.fallback import Cause

ERRORS = {
    "INTERNAL": "Report it, with the line that was printed and what `--debug` shows of the same run. The node boots"
    " what it booted before.",
    "USAGE": "Read `manageboot --help`, or `manageboot VERB --help`, which has examples.",
    "IMAGE_FORMAT": "Look at the file: `manageboot inspect IMAGE` says how far it can be read. docs/update-image.md"
    " lists the formats. An image that was loaded from a server may be an error page.",
    "IMAGE_TRUNCATED": "Load or copy the update image again, and compare its size and SHA-256 with those of its"
    " source.",
    "IMAGE_MEMBER": "Build the update image again. `manageboot inspect IMAGE` lists what is in it, and"
    " docs/update-image.md says what has to be.",
    "IMAGE_CONTENT": "Put the images themselves into the archive, each a file system, neither compressed nor with a"
    " partition table. If the node's images are meant to be so, set `install.check_content = false`.",
    "IMAGE_TOO_LARGE": "Make the image smaller, or the device of the slot larger.",
    "IMAGE_SHA256": "Nothing boots from it: the slot is void. Load the image again. If it differs again, ask whoever"
    " published the digest.",
    "RELEASE_FORMAT": "Nothing was written. Take the release from another mirror; whoever publishes it runs `manageboot"
    " release check`.",
    "RELEASE_TOO_NEW": "Install a newer manageboot, or a release that was made for this one.",
    "RELEASE_SHA256": "Take the release from another mirror. If it differs there too, whoever publishes it runs"
    " `manageboot release check`.",
    "METADATA": "If it is expired, whoever publishes it renews it with `manageboot release sign`; look at this clock,"
    " too. Otherwise take it from another mirror.",
    "METADATA_SIGNATURE": "Nothing was written. Take the release from another mirror. If it is the same there, whoever"
    " publishes it signs with keys that this system's image does not trust.",
    "METADATA_EXPIRED": "Look at the clock. If it is right, whoever publishes renews the metadata with `manageboot"
    " release sign`; an old copy on a stick has to be copied anew.",
    "CLOCK_AHEAD": "Set the clock. One that is behind would do.",
    "PINNED_SHA256": "Nothing was written. Copy the release again, and compare the digest with that of its source.",
    "SEED_CHANGED": 'Find out who writes to the booted slot. With `delta.fallback = "full"` what differs comes from the'
    " full pack, and with `delta.use = false` all of it.",
    "FLOOR_DAMAGED": "See what happened to the disk. `manageboot upgrade-install --allow-downgrade` takes a release all"
    " the same, and begins a new floor.",
    "BLOCK_DAMAGED": "Run `grubenv FILE check` to see what is wrong, then `grubenv FILE repair`, then `manageboot"
    " doctor`.",
    "UNSOUND": "Read the report above the error: each finding has its remedy.",
    "GRUB_CFG": "Run `manageboot bootloader check` to see the differences, and `manageboot bootloader install` to"
    " remove them.",
    "GRUB_MODULES": "Install GRUB's modules anew with `grub-install`, from the same release as the GRUB that boots.",
    "RECORD_DAMAGED": "Run `manageboot upgrade-install`, which writes a new record. Until then nothing can be"
    " committed.",
    "PARTITION_TABLE": "Give `--disk` the whole disk, not a partition, and see what `sgdisk --verify DISK` says of it.",
    "NO_INPUT": "Look at the path: the file has to be there, and to be readable.",
    "NO_BLOCK": "Mount GRUB's partition where `boot.grubenv` points. If it is mounted, make a block there with"
    " `grubenv FILE create`.",
    "NO_DEVICE": "Compare the slots of the configuration with `lsblk -o NAME,PARTLABEL,PARTUUID`, and connect the disk"
    " that is missing.",
    "DEVICES_UNKNOWN": "Mount /sys and run it where udev runs, or name the devices by path.",
    "COMMIT_PENDING": "Reboot, so that the slot is tried; or take the commit back with `manageboot upgrade-cancel`.",
    "ON_TRIAL": "End the trial first: `manageboot confirm` keeps it, `manageboot rollback` leaves it.",
    "TRUSTED_SLOT": "Name the other slot. To overwrite the only system that is known to boot, add"
    " `--overwrite-trusted`.",
    "NOT_ON_TRIAL": "There is nothing to abort. `manageboot status` says which slot is trusted.",
    "CONFLICT": "Reboot, so that GRUB decides. If it stays, `boot.grubenv` is not the block that GRUB reads; see"
    " `manageboot doctor`.",
    "NO_BOOTED_SLOT": "GRUB has to pass the slot on the kernel command line; `boot.cmdline_key` is the name of the"
    " parameter.",
    "NOTHING_INSTALLED": "Run `manageboot upgrade-install` first.",
    "NO_WAY_BACK": "There is no other system to go back to. Install an older image with `manageboot upgrade-install`.",
    "BELOW_FLOOR": "Take a release with a higher index. If it has to be the older one, `--allow-downgrade` takes it,"
    " unless a confirmed release forbids that by its `min_index`.",
    "OTHER_SYSTEM": "Take a release for this system; `channel.system` says what releases call it.",
    "OTHER_HARDWARE": "Take a release for this hardware; `channel.hardware` says what releases call it.",
    "AGENT_TOO_OLD": "Install a release first that this manageboot can install, and that has a later one.",
    "UNSIGNED": "Install a signed release, or pin one with `--release-sha256`. `channel.root` names the root of trust,"
    " and `channel.required` lets nothing else pass.",
    "NO_RELEASE": "`manageboot check` says what there is. `channel.mirrors` names where releases are.",
    "NO_NETWORK": "Put the releases on a web server, or copy them to a directory of the node, and name that in"
    " `channel.mirrors`.",
    "NO_TUF": "Install `manageboot[channel]`; docs/channel.md says how on Debian 12.",
    "UPDATE_MEMORY": "See what happened to the disk. `manageboot update --retry` begins a new file; releases that did"
    " not stay here are taken again then.",
    "SIGNATURES_MISSING": "Give the keys that are named with `--key`, or let their owners sign one after the other:"
    " docs/releases.md shows how.",
    "DEVICE_BUSY": "Unmount what is mounted from the passive slot, and detach loop devices and mappings on it;"
    " `findmnt`, `losetup` and `lsblk` show them.",
    "DEVICE_AMBIGUOUS": "Detach the copy of this node's disk, or name the devices by path.",
    "DEVICES_SCATTERED": "Detach the disk that bears some of this node's identifiers, or name the devices by path.",
    "CANNOT_CREATE": "See the cause: make room, mount the file system for writing, or make the directory.",
    "NO_ROOM": "Remove variables that nobody needs with `grubenv FILE unset NAME`. The block can't be made larger.",
    "NOT_ATOMIC": "Remove or shorten what is not needed with `grubenv FILE unset NAME`, so that all lines fit into the"
    " first 512 bytes.",
    "IO_ERROR": "Look at the kernel's messages (`dmesg`) and the health of the disk. If a device fails twice, replace"
    " it.",
    "READ_BACK": "The device does not keep what it is given. Look at its health, then run `manageboot upgrade-install`"
    " again; if that fails in the same way, replace the disk.",
    "ARMED_NOT_REBOOTED": "The slot boots next. Reboot by other means, or take it back with `manageboot"
    " upgrade-cancel`.",
    "NO_RESOURCES": "Try again when the system has more to spare; `ulimit -a` shows the limits of the caller.",
    "FETCH_BROKEN": "Try again later. docs/network.md says what is tried before it comes to this.",
    "FETCH_NO_ROUTE": "See whether the network is up, whether a firewall is in the way, and whether a proxy is needed.",
    "FETCH_NO_NAME": "See whether the network is up, and what /etc/resolv.conf says.",
    "FETCH_TLS": "See whether `channel.ca` names whoever signed the certificate of the mirror.",
    "FETCH_CLOCK": "Set the clock of the node, or renew the certificate of the mirror; the message has both dates.",
    "FETCH_STALLED": "Try again later, or name another mirror.",
    "FETCH_DEADLINE": "Try again later, or allow more time with `channel.deadline`.",
    "FETCH_REFUSED": "See `channel.netrc`, `channel.certificate` and the password of the proxy.",
    "FETCH_GONE": "See whether the mirrors have it yet, or have it no more.",
    "FETCH_LIED": "See whether something on the way answers instead of the mirrors, such as a captive portal.",
    "NO_FETCHER": "Install what the message names, most often python3-pycurl; docs/network.md says what else it needs.",
    "LOCKED": "Wait for the other run, or let this one wait for it with `--lock-timeout SECONDS`. The lock ends with"
    " its holder.",
    "NOT_PERMITTED": "Run it as root. As root, it is a read-only device, or a sandbox that forbids it.",
    "CONFIG": "Correct the file and the key that the error names; docs/configuration.md lists every setting.",
}

FALLBACKS = {
    Cause.NEVER_STARTED: "`manageboot doctor`; take the commit back with `upgrade-cancel` until GRUB can write",
    Cause.UNLOADABLE: "see what the image has in boot",
    Cause.DIED_EARLY: "read the serial console of that boot; the journal of the other slot has nothing",
    Cause.DIED_LATER: "mount var of the other slot and read its journal: `journalctl -D …`",
    Cause.UNHEALTHY: "read the event `health_failed` before it in the history: the check, and what it printed",
    Cause.DEADLINE: "read the event `deadline` before it; then ask whoever should have called `confirm`",
    Cause.BY_HAND: "ask them",
    Cause.UNKNOWN: "with GRUB, `manageboot bootloader install` installs a `grub.cfg` that does, from the next upgrade"
    " on",
}

FINDINGS = {
    "NO_BOOTED_SLOT": "The kernel command line does not name a slot.",
    "NO_BLOCK": "There is no environment block; if there is no `grub.cfg` beside it either, GRUB's file system is"
    " most likely not mounted.",
    "BLOCK_DAMAGED": "The block can't be read, or its values mean nothing.",
    "BLOCK_UNSOUND": "GRUB would read or write the block in another way than the agent; the text has the word of"
    " `grubenv check`.",
    "BLOCK_READ_ONLY": "The block can't be written: its file system or the device below is read-only, it is"
    " immutable, or there is no room.",
    "BLOCK_REWRITTEN": "Debian 13's `grub-common.service` is enabled: at each boot it empties the block and writes it"
    " anew, so a power cut can damage it.",
    "CONFLICT": "Kernel command line and block contradict each other.",
    "GRUB_DID_NOT_WRITE": "GRUB, or what else started a trial, did not write that down.",
    "GRUB_CANNOT_WRITE": "GRUB could not write the block, and started no trial.",
    "GRUB_FOUND_DAMAGE": "GRUB could not use the block at this boot.",
    "GRUB_READS_OTHER_BLOCK": "GRUB reads another block than the agent writes.",
    "TRUSTED_SLOT_UNLOADABLE": "GRUB could not load the trusted slot, and booted this one instead.",
    "ROOT_OF_OTHER_SLOT": "The mounted root belongs to the slot that is not booted.",
    "FELL_BACK": "A trial did not stay; the text has the cause.",
    "RECORD_DAMAGED": "The record of the slots can't be read.",
    "NO_DEVICE": "A device of a slot is missing.",
    "DEVICES_SCATTERED": "The identifiers of a slot lead to several disks or volume groups.",
    "TRIES_IGNORED": "`boot.tries` is more than 1, and the node's `grub.cfg`, or a host that boots it without GRUB,"
    " knows one try.",
    "GRUB_CFG_DIFFERS": "The node's `grub.cfg` is not the one that is shipped here.",
    "GRUB_MODULES": "Modules that the shipped `grub.cfg` uses are missing in a directory where GRUB has others,"
    " with a `command.lst`.",
    "SECOND_WITNESS_BEHIND": "`manageboot.env` beside the block does not name the trusted slot.",
    "UPDATES_INCOMPLETE": "`manageboot-update.timer` is enabled, and something is missing that unattended updates need;"
    " the text says what.",
}
"""What each finding of `doctor` means; `doctor.REMEDIES` says what to do."""

PROBLEMS = {
    "CHECK_FAILED": (
        "A health check failed or took too long.",
        "Mend what it looks at. A required one aborts the trial, a wanted one only warns.",
    ),
    "DEVICE_LOST": (
        "A device of a slot went away or failed while the node ran.",
        "Look at the disk. If the device is of the booted slot, do not reboot before you know.",
    ),
    "REBOOT_MISSING": (
        "A commit, or a trial that was aborted, waits for a reboot that did not come.",
        "Reboot, or run `manageboot upgrade-cancel`.",
    ),
}
"""What `status` finds and `doctor` does not: what it means, and what to do."""
