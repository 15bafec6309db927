"""Updates that nobody types: looks for a release, installs it, and commits it in a maintenance window.

`decision` decides, `look` sees, `update` does. Every verb that it uses holds what it always holds.
"""
