"""Preshared keys: one per tunnel, made on one end, sealed to the other end's key, the same on both before it is used.

A key belongs to the two public keys of its tunnel: on each end it is in a file that is named after both. So one that
outlives a rotation can't be taken for the current one, and every rotation brings new preshared keys with it.
"""
