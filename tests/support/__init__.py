"""What the tests of several rooms need. It imports nothing of theirs.

The node of a test is a fake, of the cheapest layer that can show what the test is about:

protocol.node       a value: block, records, a word for what each slot holds. The agent is a function of it, and real
                    GRUB another one. For every state that can be reached.
Node                a block, a kernel command line, a configuration, and the agent as a caller runs it; no slots.
DaemonNode          a Node with a made-up systemctl. For the daemon, as a process, or driven turn by turn.
LoopNode            a Node with its slots on loop devices; its `boot` plays GRUB. For the verbs.
install.crashnode   a LoopNode on disks that fail as they are told to (faultydisk, served); install.kills one whose
                    installations are killed. For what an installation leaves behind.
GuestNode           a LoopNode whose slots are the partitions of a GuestDisk; real GRUB boots it (grubemu).
StoppedGuest        a Node whose slots are the partitions of a GuestDisk, worked on from outside (`--disk`).
offline.crashguest  such a one whose disk fails, while the slot that it trusts is overwritten.
trials              a virtual machine of the harness: firmware, GRUB, kernel and systemd are real.
"""
