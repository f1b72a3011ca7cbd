"""`python -m swarmctl`: the same as `swarmctl`."""

from swarmctl.cli import main

if __name__ == "__main__":
    main()
