"""Faults: from the signs that detectors give to episodes, incidents and what is shown of them."""
