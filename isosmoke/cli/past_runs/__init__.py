"""Commands about past runs."""
