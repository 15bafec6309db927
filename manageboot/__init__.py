"""A/B boot and upgrade agent for Linux nodes that boot with GRUB."""

__version__ = "0.1.0"
