"""An update image into the passive slot, in the order that makes it safe."""
