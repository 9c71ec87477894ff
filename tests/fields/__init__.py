"""Receptive fields of small nets, each held against runs of the net itself."""
