"""One colour and one marker per vendor, in every picture: those of the dashboards (Okabe and Ito's palette)."""

OF_VENDOR = {"nvidia": "#56B4E9", "ascend": "#E69F00"}
OTHER = "#8E8E8E"
MARKERS = {"nvidia": "o", "ascend": "s"}
OTHER_MARKER = "D"


def of(vendor: str) -> str:
    """The colour, as `#rrggbb`."""
    return OF_VENDOR.get(vendor, OTHER)


def marker(vendor: str) -> str:
    """Matplotlib's name of the marker."""
    return MARKERS.get(vendor, OTHER_MARKER)
