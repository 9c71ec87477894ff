"""Generated from `proto/analyzer/v1/analyzer.proto` by `make proto`."""
