"""Figures that others have published, each with its source in the test's id."""
