"""The metrics page: the only place that names series."""
