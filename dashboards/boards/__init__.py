"""Dashboards as code: one file per dashboard, the JSON beside them is made by `make dashboards`."""
