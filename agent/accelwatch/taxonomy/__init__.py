"""Fault classes and the vendors' codes: data files, and one loader that checks them.

Nothing else knows what a vendor's code means.
"""
