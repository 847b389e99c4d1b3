"""The execution of many scenarios: preflight, scheduling, services, and the session of a run."""
