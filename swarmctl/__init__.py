"""swarmctl: one reviewed folder of YAML is the truth about a swarm of machines."""

__version__ = "0.1.0"
