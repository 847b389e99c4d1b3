"""What came of scenarios, as data: outcomes, leaks, attempts, evidence, records."""
