"""A release, read: what release.json and release.idx say, and the windows of the images out of a pack.

docs/release-format.md has each byte. Everything is checked before it is used: a file by its SHA-256 before it is
parsed, a frame by its SHA-256 before it is decompressed, a window by its SHA-256 before anybody gets it.
"""
