"""`accelerators:` of a NodePool: which cards its machines have, and the driver that follows from that."""
