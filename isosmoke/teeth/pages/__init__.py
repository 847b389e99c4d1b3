"""Measurements of teeth as HTML: a page, a part of the report, and the record behind it."""
