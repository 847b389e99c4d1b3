"""Signatures of receipts."""
