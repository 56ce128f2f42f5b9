"""Simulated hardware behind the real interfaces: for tests, `make run` and rehearsals; never a fallback."""
