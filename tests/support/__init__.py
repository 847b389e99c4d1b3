"""What tests share: factories, projects, engines or a loud skip, and stand-ins."""
