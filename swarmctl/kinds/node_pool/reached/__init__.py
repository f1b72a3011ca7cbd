"""`ssh:` of a NodePool, checked: who the machines are, how one gets there, and with what."""
