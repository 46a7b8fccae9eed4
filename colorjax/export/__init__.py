"""Trained models for other programs: ONNX and StableHLO."""
