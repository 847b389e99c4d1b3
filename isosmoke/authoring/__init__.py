"""Write a manifest and check that it only grows."""
