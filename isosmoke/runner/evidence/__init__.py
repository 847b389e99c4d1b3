"""The evidence of an attempt: what its script changed, and what its terminals show."""
