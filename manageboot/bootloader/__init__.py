"""The GRUB half of the boot protocol: grub.cfg."""
