"""Code that tests share: factories, projects, engines, and stand-ins."""
