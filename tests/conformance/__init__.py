"""Small graphs in ONNX text with what is expected of each, for this tool and for others."""
