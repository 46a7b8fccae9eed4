"""Devices, processes, and stopping them."""

RESUME = "the same command resumes from the newest checkpoint"
