"""Result data: outcomes, leaks, attempts, evidence and records."""
