"""Records and documents as JSON: their base classes and validation, and how a run is recorded."""
