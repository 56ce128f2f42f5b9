"""A fleet in one process: the true metrics page of each node, without a host for each."""
