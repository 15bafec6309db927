"""Where signed releases come from: who may publish them, which of them fit this node, and their windows, each verified.

Nothing here writes to a slot. docs/channel.md tells the order in which things are verified, and what is kept.
"""
