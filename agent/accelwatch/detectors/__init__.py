"""What readings mean: pure functions, one file per family of faults."""
