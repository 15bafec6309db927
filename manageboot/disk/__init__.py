"""Block devices: found by name, opened for one writer, and told whether somebody else uses them."""
