"""Stand-ins for what only a machine with cards has. They are packages of the real names and versions, for real dpkg.

No line of NVIDIA's is in them. What they answer follows from what dpkg has installed, from the module that counts as
loaded (`modprobe` notes it) and from the cards that `lspci` prints. Variants fail as the real ones do: another module
than libraries, a Fabric Manager of another version, diagnostics that tell of an XID.
"""
