"""A fitted ensemble without this package: as a folder that numpy alone reads, or as one ONNX graph."""
