"""How bytes get to the disk so that a power cut leaves old or new: the planned sectors, or a new file in the place."""
