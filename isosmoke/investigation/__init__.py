"""Investigations of one scenario: how often it fails, and which commit made it fail."""
