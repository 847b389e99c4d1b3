"""Creation of scenarios, and the check that a manifest only grows."""
