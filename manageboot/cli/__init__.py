"""The front door: parses, wires, prints, exits; nothing else does."""
