"""One file per aspect of a machine: how it is read back, compared, set, and taken away again."""
