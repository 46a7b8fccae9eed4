"""Trained models for other programs: ONNX, StableHLO, and a site that runs them in browsers."""
