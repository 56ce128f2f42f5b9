"""Vendor-neutral readings: immutable values with units in their names, `None` where the device does not say.

One file per family. A source builds them, everything later in the way of the data only reads them.
"""
