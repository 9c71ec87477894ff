"""Verification held against planted faults, hostile models and made-up profiles."""
