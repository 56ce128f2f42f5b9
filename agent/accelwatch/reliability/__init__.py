"""Reliability: exposure, and later rates, intervals and the comparison of vendors."""
