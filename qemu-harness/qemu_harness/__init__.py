"""Builds a node with two slots as IC-OS lays it out, and runs it in QEMU with UEFI firmware and the real GRUB."""
