"""Every power cut in the life of a node: what its disk saw, cut anywhere, and judged by real GRUB and the agent.

`recording` lets a node live in QEMU, whose driver blklogwrites keeps each write and flush. `replay` is the disk at one
instant of that, `cuts` says which instants there are, `judge` what is right there, and `campaign` puts all together.
`faults` are those that it has to find, and `mutants` tries them.
"""
