"""The disk of a system that is stopped, worked on from outside."""
