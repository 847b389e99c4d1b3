"""Run many scenarios: preflight, scheduling, services, one whole session."""
