"""What a block lies on: file system, extents and device, and what the device itself holds, as GRUB would find it."""
