"""From bytes to a report: load, options, the walk, the passes, the report's sums."""
