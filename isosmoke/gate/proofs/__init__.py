"""Proofs and receipts of teeth: statements that a scenario notices a broken binary."""
