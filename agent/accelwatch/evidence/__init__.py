"""Evidence of a fault for its vendor: what a node knows of it, in one file, bounded, and without secrets."""
