"""`python -m swarmctl.provider`: the provider of all kinds; the engine starts it."""

from swarmctl.provider.hosts import Connections
from swarmctl.provider.process import serve
from swarmctl.provider.server import Provider

if __name__ == "__main__":
    serve(Provider(Connections()))
