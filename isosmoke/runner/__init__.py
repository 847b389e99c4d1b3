"""Run one job in one fresh sandbox and collect what it left."""
