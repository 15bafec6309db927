"""The GRUB environment block: the 1,024 bytes that decide what a node boots."""
