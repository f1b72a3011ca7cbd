"""Key rotation without losing a packet: a second interface, handshakes on it, routes over it, then the first anew.

No link is ever without a way that both its ends understand, whatever the order in which they are changed: both
interfaces accept what comes while the ends switch at different times, and nothing is taken away before both have
switched. What is on the nodes says how far a rotation has come, so one that was cut off is gone on with from there.
"""
