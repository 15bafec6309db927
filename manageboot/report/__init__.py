"""What is known of the node, of an update image, and of the boot chain. Writes nothing."""
