"""The disk of a system that is stopped, worked on offline (`--disk`)."""
