"""What onnxruntime takes, predicted: its rules one by one against the real thing, and whole sessions."""
