"""Taking machines out of service and back, by commands that the pool declares: `drain:`, and the states it brings."""
