"""The tests. Models are written in ONNX text wherever a person should see the graph."""
