"""The root side of privileged reads, and the way to it."""
