"""Runs: the training processes on this node that share a run id and attempt, and the devices that they hold."""
