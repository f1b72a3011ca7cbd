"""Existing meshes: configurations of wg-quick(8) → what is declared of them. Pure; no private key is kept or shown."""
