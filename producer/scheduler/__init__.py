"""The scheduler (being built)."""
