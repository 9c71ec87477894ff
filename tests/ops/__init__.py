"""The rules, family by family: sizes against onnxruntime, costs against a derivation, spans against brute force."""
