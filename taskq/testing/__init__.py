"""The users' testing kit (being built)."""
