"""A command of the site for faults that end runs: decided, limited, run apart, and kept in the journal."""
